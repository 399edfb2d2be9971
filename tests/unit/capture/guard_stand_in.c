/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_stand_in - a gateway that does nothing but keep rules, for tests/integration/test_guard.py.
 *
 * guard_stand_in BACKEND ON_EXIT INSTANCE MARK [broken | forward | cache]: starts the guard and says "started PID";
 * then a line of input is a wish ("apply", "stop", "free", "watch", "end"), and a line of output the answer. Instead of
 * a back end: "cleanup [INSTANCE]", what tng cleanup-iptables does; "namesake INSTANCE", another name that has the same
 * marks.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/cleanup.h"
#include "capture/guard.h"
#include "capture/rules.h"

/*
 * 192.0.2.0/24 and 2001:db8::/32, port 8080, to port 50000; broken: for a control group that is not there;
 * forward: of what other hosts send; cache: with a set of what has refused.
 */
static struct ruleset *build(const struct interception_conf *conf, unsigned mark, const char *how, struct err *e)
{
	struct dst_conf dst[] = { { .host = (char *)"192.0.2.0/24", .port = 8080, .port_end = 8080 },
				  { .host = (char *)"2001:db8::/32", .port = 8080, .port_end = 8080 } };
	char *group = (char *)"tng-is-not-there";
	struct netfilter_conf n = { .capture_dst = dst, .capture_dst_count = 2, .so_mark = 565, .ipv6 = IPV6_CAPTURE };
	struct entry_conf entry = { .kind = ENTRY_INGRESS,
				    .index = mark - CAPTURE_MARK_FIRST,
				    .path = (char *)"add_ingress[0]",
				    .netfilter = &n };
	struct captured_entry captured = { &entry, 50000 };

	if (strcmp(how, "forward") == 0)
		n.scope = SCOPE_FORWARD;
	if (strcmp(how, "cache") == 0) {
		n.open_ports = OPEN_PORTS_NEGATIVE_CACHE;
		n.negative_cache_ms = 10000;
	}
	if (strcmp(how, "broken") == 0)
		n.capture_cgroup = (struct string_list){ &group, 1 };
	return rules_build(conf, &captured, 1, true, e);
}

static void say(int rc, const struct err *e, const char *done)
{
	printf("%s\n", rc == 0 ? done : e->text);
	fflush(stdout);
}

static int clean_up(const char *instance, bool dry)
{
	struct cleanup_options options = { .instance = instance };
	struct buf commands = { 0 };
	struct err e;
	struct cleanup *c = cleanup_find(&options, &e);
	int rc;

	if (c == NULL) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	fputs(cleanup_notes(c), stderr);
	cleanup_print_commands(c, &commands);
	fputs(buf_str(&commands), stdout);
	rc = dry ? 0 : cleanup_run(c, &e);
	if (rc != 0)
		fprintf(stderr, "%s\n", e.text);
	if (cleanup_running(c) > 0)
		rc = 1;
	buf_release(&commands);
	cleanup_free(c);
	return rc == 0 ? 0 : 1;
}

static void obey(struct guard **g, const char *wish)
{
	struct err e;

	if (strcmp(wish, "apply") == 0) {
		say(guard_apply(*g, &e), &e, "standing");
	} else if (strcmp(wish, "stop") == 0) {
		say(guard_stop(*g, &e), &e, "stopped");
	} else if (strcmp(wish, "watch") == 0) {
		struct pollfd p = { .fd = guard_descriptor(*g), .events = POLLIN };

		printf("%s\n", poll(&p, 1, 10000) == 1 ? "gone" : "there");
		fflush(stdout);
	} else if (strcmp(wish, "refused") == 0) {
		struct sock_addr dst[2];

		sock_addr_parse("192.0.2.9", 8080, &dst[0]);
		sock_addr_parse("2001:db8::9", 8080, &dst[1]);
		for (unsigned i = 0; i < 1000; i++)
			guard_refused(*g, 0, &dst[i % 2]);
		say(0, NULL, "told");
	} else if (strcmp(wish, "free") == 0) {
		guard_free(*g);
		*g = NULL;
		say(0, NULL, "freed");
	}
}

/* Another name whose entries have the marks of this one. */
static int print_namesake(const char *instance)
{
	struct interception_conf conf = { .instance = (char *)instance };
	uint32_t mark = capture_mark(&conf, ENTRY_INGRESS, 0);

	for (unsigned i = 0; i < 100000; i++) {
		char name[INSTANCE_LEN_MAX + 1];

		snprintf(name, sizeof(name), "n%u", i);
		conf.instance = name;
		if (capture_mark(&conf, ENTRY_INGRESS, 0) != mark)
			continue;
		puts(name);
		return 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct interception_conf conf = { .mark_mask = 0xffffff, .protocol = 235 };
	struct ruleset *rules;
	struct guard *g;
	struct err e;
	char line[64];

	signal(SIGPIPE, SIG_IGN);
	if (argc >= 2 && strncmp(argv[1], "cleanup", 7) == 0)
		return clean_up(argc > 2 ? argv[2] : NULL, strcmp(argv[1], "cleanup-dry") == 0);
	if (argc == 3 && strcmp(argv[1], "namesake") == 0)
		return print_namesake(argv[2]);
	if (argc < 5)
		return 2;
	conf.backend = strcmp(argv[1], "nft") == 0	  ? BACKEND_NFT
		       : strcmp(argv[1], "iptables") == 0 ? BACKEND_IPTABLES
							  : BACKEND_AUTO;
	conf.drop_on_exit = strcmp(argv[2], "drop") == 0;
	conf.instance = argv[3];
	conf.check_ms = argc > 5 && strcmp(argv[5], "check") == 0 ? 500 : 0;
	rules = build(&conf, (unsigned)strtoul(argv[4], NULL, 10), argc > 5 ? argv[5] : "", &e);
	g = rules != NULL ? guard_start(&conf, rules, &e) : NULL;
	say(g != NULL ? 0 : -1, &e, "started");
	while (g != NULL && fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "end") == 0)
			break;
		obey(&g, line);
	}
	guard_free(g);
	rules_free(rules);
	return 0;
}
