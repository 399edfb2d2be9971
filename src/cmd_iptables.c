/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_iptables - tng iptables and tng cleanup-iptables: the rules without the gateway.
 *
 * Standard output has commands and nothing else, or nothing at all. What is wrong is one line on standard error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/apply.h"
#include "capture/bridges.h"
#include "capture/cleanup.h"
#include "capture/host.h"
#include "capture/rules.h"
#include "capture/rules_styles.h"
#include "cmd.h"
#include "cmd_line.h"

#define EXIT_USAGE 2
#define CHAIN_PREFIX_MAX 11 /* behind it "_INBOUND_REDIRECT", of the 28 characters that a name can have */

enum {
	OPTION_CONFIG_FILE = 256,
	OPTION_CONFIG_CONTENT,
	OPTION_DRY_RUN,
	OPTION_VERBOSE,
	OPTION_ALL,
	OPTION_INSTANCE,
	OPTION_BACKEND,
	OPTION_STYLE,
	OPTION_CHAIN_PREFIX,
	OPTION_PROXY_PORT,
	OPTION_CAPTURE_PORT,
	OPTION_INBOUND_PORTS,
	OPTION_OUTBOUND_PORTS,
	OPTION_INBOUND_EXCLUDE,
	OPTION_OUTBOUND_EXCLUDE,
	OPTION_PROXY_USER,
	OPTION_MODE,
};

/* clang-format off */
#define OPTIONS_OF_BOTH \
	{ "config-file", required_argument, NULL, OPTION_CONFIG_FILE }, \
	{ "config-content", required_argument, NULL, OPTION_CONFIG_CONTENT }, \
	{ "dry-run", no_argument, NULL, OPTION_DRY_RUN }, \
	{ "verbose", no_argument, NULL, OPTION_VERBOSE }, \
	{ "backend", required_argument, NULL, OPTION_BACKEND }, \
	{ "style", required_argument, NULL, OPTION_STYLE }, \
	{ "chain-prefix", required_argument, NULL, OPTION_CHAIN_PREFIX }, \
	{ "help", no_argument, NULL, 'h' }

static const struct option iptables_options[] = {
	OPTIONS_OF_BOTH,
	{ "proxy-port", required_argument, NULL, OPTION_PROXY_PORT },
	{ "apisix-port", required_argument, NULL, OPTION_PROXY_PORT },
	{ "inbound-capture-port", required_argument, NULL, OPTION_CAPTURE_PORT },
	{ "apisix-inbound-capture-port", required_argument, NULL, OPTION_CAPTURE_PORT },
	{ "inbound-ports", required_argument, NULL, OPTION_INBOUND_PORTS },
	{ "outbound-ports", required_argument, NULL, OPTION_OUTBOUND_PORTS },
	{ "inbound-exclude-ports", required_argument, NULL, OPTION_INBOUND_EXCLUDE },
	{ "outbound-exclude-ports", required_argument, NULL, OPTION_OUTBOUND_EXCLUDE },
	{ "proxy-user", required_argument, NULL, OPTION_PROXY_USER },
	{ "apisix-user", required_argument, NULL, OPTION_PROXY_USER },
	{ "inbound-interception-mode", required_argument, NULL, OPTION_MODE },
	{ 0 },
};

static const struct option cleanup_options[] = {
	OPTIONS_OF_BOTH,
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "instance", required_argument, NULL, OPTION_INSTANCE },
	{ 0 },
};
/* clang-format on */

enum style { STYLE_OURS, STYLE_MESH, STYLE_TNG1, STYLE_TNG2 };

struct request {
	struct cmd_line config; /* config_file, config_content */
	bool dry_run;
	bool verbose;
	bool all;
	bool help;
	const char *instance;
	enum interception_backend backend;
	enum style style;
	const char *chain_prefix;
	struct sidecar sidecar;
	const char *user;
	bool has_sidecar_option;
};

static int take_word(const char *value, const char *const *words, size_t count, const char *option, int *index,
		     struct err *e)
{
	struct buf known = { 0 };

	for (size_t i = 0; i < count; i++) {
		*index = (int)i;
		if (strcmp(value, words[i]) == 0) {
			buf_release(&known);
			return 0;
		}
		buf_format(&known, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", words[i]);
	}
	err_set(e, ERR_CONFIG, "%s: expected %s, found \"%.60s\"", option, buf_str(&known), value);
	buf_release(&known);
	return -1;
}

static int take_backend(struct request *q, const char *value, struct err *e)
{
	static const char *const words[] = { "nft", "iptables" };
	int index;

	if (take_word(value, words, ARRAY_SIZE(words), "--backend", &index, e) < 0)
		return -1;
	q->backend = index == 0 ? BACKEND_NFT : BACKEND_IPTABLES;
	return 0;
}

static int take_style(struct request *q, const char *value, struct err *e)
{
	static const char *const words[] = { "mesh", "tng1", "tng2" };
	int index;

	if (take_word(value, words, ARRAY_SIZE(words), "--style", &index, e) < 0)
		return -1;
	q->style = (enum style)(STYLE_MESH + index);
	return 0;
}

static int take_mode(struct request *q, const char *value, struct err *e)
{
	static const char *const words[] = { "REDIRECT", "TPROXY" };
	int index;

	if (take_word(value, words, ARRAY_SIZE(words), "--inbound-interception-mode", &index, e) < 0)
		return -1;
	q->sidecar.tproxy = index == 1;
	return 0;
}

static int take_prefix(struct request *q, const char *value, struct err *e)
{
	static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	if (value[0] == '\0' || strlen(value) > CHAIN_PREFIX_MAX || strspn(value, allowed) != strlen(value))
		return err_set(e, ERR_CONFIG, "--chain-prefix: expected 1 to %d letters, digits and _, found \"%.60s\"",
			       CHAIN_PREFIX_MAX, value);
	q->chain_prefix = value;
	return 0;
}

static int take_instance(struct request *q, const char *value, struct err *e)
{
	if (!is_instance_name(value))
		return err_set(e, ERR_CONFIG, "--instance: expected 1 to %d letters, digits, _ and -, found \"%.60s\"",
			       INSTANCE_LEN_MAX, value);
	q->instance = value;
	return 0;
}

static int take_option(struct request *q, int option, const char *value, struct err *e)
{
	q->has_sidecar_option = q->has_sidecar_option || option >= OPTION_PROXY_PORT;
	switch (option) {
	case 'h':
		q->help = true;
		return 0;
	case 'c':
	case OPTION_CONFIG_FILE:
		q->config.config_file = value;
		return 0;
	case OPTION_CONFIG_CONTENT:
		q->config.config_content = value;
		return 0;
	case OPTION_DRY_RUN:
		q->dry_run = true;
		return 0;
	case OPTION_VERBOSE:
		q->verbose = true;
		return 0;
	case OPTION_ALL:
		q->all = true;
		return 0;
	case OPTION_INSTANCE:
		return take_instance(q, value, e);
	case OPTION_BACKEND:
		return take_backend(q, value, e);
	case OPTION_STYLE:
		return take_style(q, value, e);
	case OPTION_CHAIN_PREFIX:
		return take_prefix(q, value, e);
	case OPTION_PROXY_PORT:
		return sidecar_port(value, "--proxy-port", &q->sidecar.proxy_port, e);
	case OPTION_CAPTURE_PORT:
		return sidecar_port(value, "--inbound-capture-port", &q->sidecar.capture_port, e);
	case OPTION_INBOUND_PORTS:
		return port_list_parse(value, "--inbound-ports", true, &q->sidecar.inbound, e);
	case OPTION_OUTBOUND_PORTS:
		return port_list_parse(value, "--outbound-ports", true, &q->sidecar.outbound, e);
	case OPTION_INBOUND_EXCLUDE:
		return port_list_parse(value, "--inbound-exclude-ports", false, &q->sidecar.inbound_exclude, e);
	case OPTION_OUTBOUND_EXCLUDE:
		return port_list_parse(value, "--outbound-exclude-ports", false, &q->sidecar.outbound_exclude, e);
	case OPTION_PROXY_USER:
		q->user = value;
		return 0;
	case OPTION_MODE:
		return take_mode(q, value, e);
	}
	return err_set(e, ERR_CONFIG, "unknown option");
}

static int refuse_option(int found, const char *argument, struct err *e)
{
	if (found == ':')
		return err_set(e, ERR_CONFIG, "%s needs a value", argument);
	return err_set(e, ERR_CONFIG, "unknown option %.60s", argument);
}

static int read_options(struct request *q, int argc, char **argv, const struct option *options, struct err *e)
{
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	for (;;) {
		int option = getopt_long(argc, argv, "+:c:h", options, NULL);

		if (option == -1)
			break;
		if (option == '?' || option == ':')
			return refuse_option(option, argv[optind - 1], e);
		if (take_option(q, option, optarg, e) < 0)
			return -1;
	}
	if (optind < argc)
		return err_set(e, ERR_CONFIG, "unexpected argument \"%.60s\"", argv[optind]);
	if (q->config.config_file != NULL && q->config.config_content != NULL)
		return err_set(e, ERR_CONFIG, "write --config-file or --config-content, not both");
	return 0;
}

static bool has_config(const struct request *q)
{
	return q->config.config_file != NULL || q->config.config_content != NULL;
}

/* ---- From a configuration ---- */

/* The first mistake tells that there are some; tng check tells all. */
static struct config *load(const struct request *q, struct err *e)
{
	struct config_report report;
	struct config *c = cmd_line_load(&q->config, &report, e);

	if (c == NULL && report.errors.count > 0)
		err_set(e, ERR_CONFIG, "%s%s", report.errors.items[0],
			report.errors.count > 1 ? " (and more: tng check)" : "");
	config_report_release(&report);
	return c;
}

/* The kernel's choice, which the gateway must be told. */
static uint16_t free_port(const struct entry_conf *entry)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0 &&
		    getsockname(fd, (struct sockaddr *)&any, &len) == 0;

	if (fd >= 0)
		close(fd);
	if (!good)
		return 0;
	fprintf(stderr, "tng iptables: %s.netfilter has no listen_port: took %u, which is free; write it there\n",
		entry->path, ntohs(any.sin_port));
	return ntohs(any.sin_port);
}

/* Not whether it is free: the gateway that has it may be running. */
static uint16_t listen_port_of(const struct entry_conf *entry)
{
	if (entry->netfilter == NULL)
		return 0;
	if (entry->netfilter->listen_port != 0)
		return entry->netfilter->listen_port;
	if (entry->kind == ENTRY_EGRESS)
		return (uint16_t)(EGRESS_PORT_FIRST + entry->index);
	return free_port(entry);
}

static bool has_cgroups(const struct config *c)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct netfilter_conf *n = c->entries[i].netfilter;

		if (n != NULL && (n->capture_cgroup.count > 0 || n->nocapture_cgroup.count > 0))
			return true;
	}
	return false;
}

static int set_cgroup_mount(const struct config *c, struct ruleset *r, struct err *e)
{
	char *below;

	if (!has_cgroups(c))
		return 0;
	below = host_cgroup_mount(e);
	if (below == NULL)
		return -1;
	rules_set_cgroup_mount(r, below);
	free(below);
	return 0;
}

static struct captured_entry *captured_entries(const struct config *c, size_t *count)
{
	struct captured_entry *entries = mem_new_array(c->entry_count, sizeof(*entries));

	*count = 0;
	for (size_t i = 0; i < c->entry_count; i++) {
		const struct entry_conf *entry = &c->entries[i];

		if (entry->netfilter != NULL || entry->transparency.out)
			entries[(*count)++] = (struct captured_entry){ entry, listen_port_of(entry) };
	}
	return entries;
}

static enum interception_backend backend_of(const struct request *q)
{
	return q->backend == BACKEND_AUTO ? BACKEND_IPTABLES : q->backend;
}

static struct ruleset *rules_of(const struct request *q, const struct config *c, struct err *e)
{
	struct interception_conf interception = c->interception;
	size_t count;
	struct captured_entry *entries = captured_entries(c, &count);
	struct bridge_list bridges = { 0 };
	struct ruleset *r = NULL;

	interception.backend = backend_of(q);
	if (count == 0)
		err_set(e, ERR_CONFIG, "captures nothing: no entry has netfilter");
	else if (bridges_find(&bridges, e) == 0)
		r = rules_build_bridged(&interception, entries, count, host_has_ipv6(), &bridges, e);
	if (r != NULL && interception.backend == BACKEND_NFT && set_cgroup_mount(c, r, e) < 0) {
		rules_free(r);
		r = NULL;
	}
	bridge_list_release(&bridges);
	free(entries);
	return r;
}

static int find_user(const char *name, struct sidecar *s, struct err *e)
{
	struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	if (user == NULL && errno != 0 && errno != ENOENT)
		return err_errno(e, ERR_CONFIG, "look up user %.60s", name);
	if (user == NULL)
		return err_set(e, ERR_CONFIG, "--proxy-user: there is no user \"%.60s\"", name);
	s->uid = user->pw_uid;
	s->gid = user->pw_gid;
	return 0;
}

/* ---- The commands ---- */

static void print_verbose(struct buf *text)
{
	char *rest = (char *)(uintptr_t)buf_str(text);

	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
		size_t name = strcspn(line, " ");

		if (line[0] != '\0' && memmem(line, name, "tables", 6) != NULL && line[0] != 'e') /* ebtables */
			printf("%.*s -w%s\n", (int)name, line, line + name);
		else if (line[0] != '\0')
			puts(line);
	}
}

static int print_out(const struct request *q, struct buf *text)
{
	if (q->verbose)
		print_verbose(text);
	else if (text->len > 0)
		fwrite(text->data, 1, text->len, stdout);
	if (fflush(stdout) != 0) {
		perror("tng iptables: standard output");
		return 1;
	}
	return 0;
}

/* What a request comes to: a ruleset of ours, or the text of a style. */
struct work {
	struct ruleset *rules;
	struct buf text;
};

static int from_config(const struct request *q, const struct config *c, bool removal, struct work *w, struct err *e)
{
	size_t count;
	struct captured_entry *entries;
	int rc;

	if (q->style == STYLE_OURS) {
		w->rules = rules_of(q, c, e);
		return w->rules == NULL ? -1 : 0;
	}
	entries = captured_entries(c, &count);
	rc = (q->style == STYLE_TNG1 ? tng1_print : tng2_print)(entries, count, removal, &w->text, e);
	free(entries);
	return rc;
}

static int from_config_text(const struct request *q, bool removal, struct work *w, struct err *e)
{
	struct config *c;
	int rc;

	if (q->has_sidecar_option || q->style == STYLE_MESH)
		return err_set(e, ERR_CONFIG,
			       "a configuration says what to capture: not together with options of the sidecar");
	c = load(q, e);
	rc = c == NULL ? -1 : from_config(q, c, removal, w, e);
	config_free(c);
	return rc;
}

static int from_sidecar(const struct request *q, struct work *w, struct err *e)
{
	struct sidecar s = q->sidecar;

	s.prefix = q->chain_prefix;
	if (q->style == STYLE_TNG1 || q->style == STYLE_TNG2)
		return err_set(e, ERR_CONFIG, "--style tng1 and tng2 need --config-file FILE or --config-content JSON");
	if (find_user(q->user, &s, e) < 0)
		return -1;
	if (q->style == STYLE_MESH) {
		mesh_print(&s, &w->text);
		return 0;
	}
	w->rules = sidecar_rules(&s, e);
	return w->rules == NULL ? -1 : 0;
}

static void work_release(struct work *w)
{
	rules_free(w->rules);
	buf_release(&w->text);
}

static int complain(const char *name, const struct err *e, int status)
{
	fprintf(stderr, "tng %s: %s\n", name, e->text);
	return status;
}

static void request_release(struct request *q)
{
	port_list_release(&q->sidecar.inbound);
	port_list_release(&q->sidecar.outbound);
	port_list_release(&q->sidecar.inbound_exclude);
	port_list_release(&q->sidecar.outbound_exclude);
}

static int run_iptables(const struct request *q)
{
	struct work w = { 0 };
	struct err e;
	int rc = 0;

	if (q->style != STYLE_OURS && !q->dry_run) {
		err_set(&e, ERR_CONFIG, "--style only prints what others do: add --dry-run");
		return complain("iptables", &e, EXIT_USAGE);
	}
	if ((has_config(q) ? from_config_text(q, false, &w, &e) : from_sidecar(q, &w, &e)) < 0) {
		rc = complain("iptables", &e, EXIT_USAGE);
	} else if (q->dry_run) {
		if (w.rules != NULL)
			rules_print_commands(w.rules, backend_of(q), &w.text);
		rc = print_out(q, &w.text);
	} else if (rules_apply(w.rules, backend_of(q), &e) < 0) {
		rc = complain("iptables", &e, EXIT_FAILURE);
	}
	work_release(&w);
	return rc;
}

int cmd_iptables(int argc, char **argv)
{
	struct request q = { .chain_prefix = "TNG",
			     .user = "nobody",
			     .sidecar = { .proxy_port = 9080, .capture_port = 9081 } };
	struct err e;
	int rc;

	if (read_options(&q, argc, argv, iptables_options, &e) < 0)
		rc = complain("iptables", &e, EXIT_USAGE);
	else if (q.help)
		rc = cmd_help("iptables");
	else
		rc = run_iptables(&q);
	request_release(&q);
	return rc;
}

/* ---- Clean-up ---- */

/* All that could be there, as it is told from a configuration or a style: nothing is looked at. */
static int print_all_removals(const struct request *q, struct err *e)
{
	struct work w = { 0 };
	int rc = EXIT_USAGE;

	if (q->style == STYLE_MESH) {
		mesh_print_removal(q->chain_prefix, &w.text);
		rc = print_out(q, &w.text);
	} else if (!has_config(q)) {
		err_set(e, ERR_CONFIG, "--all needs --config-file FILE or --config-content JSON, or --style mesh");
	} else if (from_config_text(q, true, &w, e) == 0) {
		if (w.rules != NULL)
			rules_print_removal_commands(w.rules, backend_of(q), &w.text);
		rc = print_out(q, &w.text);
	}
	work_release(&w);
	return rc == EXIT_USAGE ? complain("cleanup-iptables", e, rc) : rc;
}

static int clean_up(const struct request *q, struct err *e)
{
	struct cleanup *c =
		cleanup_find(&(struct cleanup_options){ .instance = q->instance, .chain_prefix = q->chain_prefix }, e);
	struct buf text = { 0 };
	int rc = 0;

	if (c == NULL)
		return complain("cleanup-iptables", e, EXIT_FAILURE);
	fputs(cleanup_notes(c), stderr);
	if (q->dry_run) {
		cleanup_print_commands(c, &text);
		rc = print_out(q, &text);
	} else if (cleanup_run(c, e) < 0) {
		rc = complain("cleanup-iptables", e, EXIT_FAILURE);
	} else if (cleanup_running(c) > 0) {
		rc = EXIT_FAILURE;
	}
	buf_release(&text);
	cleanup_free(c);
	return rc;
}

int cmd_cleanup_iptables(int argc, char **argv)
{
	struct request q = { .chain_prefix = "TNG" };
	struct err e;

	if (read_options(&q, argc, argv, cleanup_options, &e) < 0)
		return complain("cleanup-iptables", &e, EXIT_USAGE);
	if (q.help)
		return cmd_help("cleanup-iptables");
	if (q.dry_run && q.all)
		return print_all_removals(&q, &e);
	if (q.all || q.style != STYLE_OURS || has_config(&q)) {
		err_set(&e, ERR_CONFIG,
			"--all, --style and a configuration are for printing all that could be there: "
			"write --dry-run --all with them");
		return complain("cleanup-iptables", &e, EXIT_USAGE);
	}
	return clean_up(&q, &e);
}
