/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_stand_in - a gateway that does nothing but keep rules, for tests/integration/test_guard.py.
 *
 * guard_stand_in BACKEND ON_EXIT INSTANCE MARK [broken]: starts the guard and says "started PID"; then a line of input is
 * a wish ("apply", "stop", "free", "watch", "end"), and a line of output the answer. "cleanup [INSTANCE]" instead of a back end: what
 * tng cleanup-iptables does.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/cleanup.h"
#include "capture/guard.h"
#include "stand_in_rules.h"

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
	} else if (strcmp(wish, "free") == 0) {
		guard_free(*g);
		*g = NULL;
		say(0, NULL, "freed");
	}
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
	if (argc < 5)
		return 2;
	conf.backend = strcmp(argv[1], "nft") == 0	  ? BACKEND_NFT :
		       strcmp(argv[1], "iptables") == 0 ? BACKEND_IPTABLES :
							  BACKEND_AUTO;
	conf.drop_on_exit = strcmp(argv[2], "drop") == 0;
	conf.instance = argv[3];
	rules = stand_in_rules(argv[3], (uint32_t)strtoul(argv[4], NULL, 10), argc > 5);
	g = guard_start(&conf, rules, &e);
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
