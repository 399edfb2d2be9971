/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_doctor - tng doctor, also tng precheck: would capture work here, and if not, why. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "capture/doctor.h"
#include "cmd.h"
#include "cmd_line.h"

#define EXIT_USAGE 2

static const char usage[] =
	"usage: tng doctor [-c FILE | --config-content JSON] [--bypass HOST:PORT] [--probe] [--json]\n"
	"       tng precheck ...                                     the same\n"
	"\n"
	"Looks at this host and says what would keep capture from working: rights, the kernel's features (tried in a\n"
	"network namespace of their own), iptables, control groups, settings, other firewalls, gateways that run or\n"
	"have left something behind. Changes nothing, and works without root as far as it can. With a\n"
	"configuration only what that needs counts, and the rules of its gateway, if it runs, are compared with it,\n"
	"with the packets that have met each of them where iptables counts those. When something fails, and with\n"
	"--probe, lines of tcpdump to copy.\n"
	"\n"
	"  --bypass HOST:PORT   connect there past all rules (mark 565): this has to work before anything else\n"
	"  --probe              connect into each capture by port, to 192.0.2.1, where only a gateway can answer\n"
	"  --json               one object: {\"ok\": ..., \"checks\": [...]}\n"
	"\n"
	"Exit status: 0 nothing that is needed fails, 1 something does, 2 wrong command line.\n";

struct request {
	struct cmd_line line;
	struct doctor_options options;
	bool json;
	bool help;
};

static const struct option long_options[] = {
	{ "config-file", required_argument, NULL, 'c' },
	{ "config-content", required_argument, NULL, 'C' },
	{ "bypass", required_argument, NULL, 'b' },
	{ "probe", no_argument, NULL, 'p' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int take_option(struct request *q, int option, const char *argument, struct err *e)
{
	switch (option) {
	case 'c':
		q->line.config_file = optarg;
		return 0;
	case 'C':
		q->line.config_content = optarg;
		return 0;
	case 'b':
		q->options.bypass = optarg;
		return 0;
	case 'p':
		q->options.probe = true;
		return 0;
	case 'j':
		q->json = true;
		return 0;
	case 'h':
		q->help = true;
		return 0;
	case ':':
		return err_set(e, ERR_CONFIG, "%s needs a value", argument);
	}
	return err_set(e, ERR_CONFIG, "unknown option %s", argument);
}

static int read_options(struct request *q, int argc, char **argv, struct err *e)
{
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	for (;;) {
		int option = getopt_long(argc, argv, ":c:h", long_options, NULL);

		if (option == -1)
			break;
		if (take_option(q, option, argv[optind - 1], e) != 0)
			return -1;
	}
	if (optind < argc)
		return err_set(e, ERR_CONFIG, "unexpected argument \"%s\"", argv[optind]);
	if (q->line.config_file != NULL && q->line.config_content != NULL)
		return err_set(e, ERR_CONFIG, "write --config-file or --config-content, not both");
	return 0;
}

static struct config *load(const struct request *q, struct err *e)
{
	struct config_report report;
	struct config *c = cmd_line_load(&q->line, &report, e);

	for (size_t i = 0; i < report.errors.count; i++)
		fprintf(stderr, "%s\n", report.errors.items[i]);
	config_report_release(&report);
	return c;
}

static int examine(const struct request *q)
{
	struct doctor_report report;
	struct buf out = { 0 };
	int rc;

	doctor_examine(&q->options, &report);
	if (q->json)
		doctor_report_print_json(&report, &out);
	else
		doctor_report_print(&report, &out);
	rc = doctor_report_fails(&report) ? 1 : 0;
	if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0) {
		perror("tng doctor: standard output");
		rc = 1;
	}
	buf_release(&out);
	doctor_report_release(&report);
	return rc;
}

int cmd_doctor(int argc, char **argv)
{
	struct request q = { 0 };
	struct config *c = NULL;
	struct err e;
	int rc;

	if (read_options(&q, argc, argv, &e) != 0) {
		fprintf(stderr, "tng %s: %s\nTry: tng %s --help\n", argv[0], e.text, argv[0]);
		return EXIT_USAGE;
	}
	if (q.help) {
		fputs(usage, stdout);
		return 0;
	}
	if (q.line.config_file != NULL || q.line.config_content != NULL) {
		c = load(&q, &e);
		if (c == NULL) {
			fprintf(stderr, "tng %s: %s\n", argv[0], e.text);
			return 1;
		}
		q.options.config = c;
	}
	rc = examine(&q);
	config_free(c);
	return rc;
}
