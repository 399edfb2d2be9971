/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_lab - the command line of `tng lab` and `tng lab ctl`. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "lab/ctl.h"
#include "lab/lab.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

static const char usage[] =
	"usage: tng lab --dir DIR [options]\n"
	"       tng lab ctl --dir DIR '{\"cmd\":\"stats\"}'\n"
	"\n"
	"Simulates an attestation agent, an API server and an attestation service on this machine, for\n"
	"trying things out and for tests. Nothing it says is evidence of anything.\n"
	"\n"
	"  --dir DIR           sockets and the CA's certificate go there; made if it is missing\n"
	"  --as-rest PORT      attestation service over HTTP (0, the default: a free port)\n"
	"  --as-grpc PORT      attestation service over gRPC\n"
	"  --asr PORT          API server\n"
	"  --token FORM        ear (the default) or simple\n"
	"  --lifetime SECONDS  of tokens (300)\n"
	"  --policy-ids LIST   policies that exist beside \"default\", separated by commas\n"
	"  --measurement HEX   the measure_register that policies affirm (64 digits; default all zero)\n"
	"  --faults JSON       an array of faults to begin with\n"
	"\n"
	"Prints one line of JSON with all addresses when it is ready; SIGTERM or SIGINT end it.\n"
	"Faults and commands of the control socket: docs/lab.md.\n";

static int usage_error(const char *text, const char *value)
{
	fprintf(stderr, "tng lab: %s%s%s\n%s", text, value != NULL ? ": " : "", value != NULL ? value : "", usage);
	return EXIT_USAGE;
}

static bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoul(text, &end, 10);
	return errno == 0 && *end == '\0' && *out >= min && *out <= max;
}

static bool parse_port(const char *text, uint16_t *out)
{
	unsigned long port;

	if (!parse_number(text, 0, UINT16_MAX, &port))
		return false;
	*out = (uint16_t)port;
	return true;
}

static bool parse_lifetime(const char *text, unsigned *out)
{
	unsigned long seconds;

	if (!parse_number(text, 1, LAB_LIFETIME_MAX_S, &seconds))
		return false;
	*out = (unsigned)seconds;
	return true;
}

/* list is cut up and stays in use. */
static bool parse_policy_ids(char *list, struct lab_options *o)
{
	for (char *id = strsep(&list, ","); id != NULL; id = strsep(&list, ",")) {
		if (id[0] == '\0' || o->policy_count == APPRAISE_POLICIES_MAX)
			return false;
		o->policy_ids[o->policy_count++] = id;
	}
	return true;
}

static bool parse_measurement(const char *text, struct lab_options *o)
{
	o->measurement = text;
	return strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64;
}

enum {
	OPT_DIR = 1,
	OPT_AS_REST,
	OPT_AS_GRPC,
	OPT_ASR,
	OPT_TOKEN,
	OPT_LIFETIME,
	OPT_POLICIES,
	OPT_MEASUREMENT,
	OPT_FAULTS,
	OPT_HELP
};

static const struct option long_options[] = {
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "as-rest", required_argument, NULL, OPT_AS_REST },
	{ "as-grpc", required_argument, NULL, OPT_AS_GRPC },
	{ "asr", required_argument, NULL, OPT_ASR },
	{ "token", required_argument, NULL, OPT_TOKEN },
	{ "lifetime", required_argument, NULL, OPT_LIFETIME },
	{ "policy-ids", required_argument, NULL, OPT_POLICIES },
	{ "measurement", required_argument, NULL, OPT_MEASUREMENT },
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static bool take_option(int option, char *value, struct lab_options *o)
{
	switch (option) {
	case OPT_DIR:
		o->dir = value;
		return true;
	case OPT_AS_REST:
		return parse_port(value, &o->as_rest_port);
	case OPT_AS_GRPC:
		return parse_port(value, &o->as_grpc_port);
	case OPT_ASR:
		return parse_port(value, &o->asr_port);
	case OPT_TOKEN:
		return token_form_from_name(value, &o->form);
	case OPT_LIFETIME:
		return parse_lifetime(value, &o->lifetime_s);
	case OPT_POLICIES:
		return parse_policy_ids(value, o);
	case OPT_MEASUREMENT:
		return parse_measurement(value, o);
	case OPT_FAULTS:
		o->faults = value;
		return true;
	}
	return false;
}

int cmd_lab(int argc, char **argv)
{
	struct lab_options o = { .form = TOKEN_EAR, .lifetime_s = LAB_LIFETIME_S };
	struct err e;
	int option;

	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return cmd_lab_ctl(argc - 1, argv + 1);
	optind = 0; /* the caller may have used getopt before */
	opterr = 0; /* the messages are ours */
	while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		if (option == OPT_HELP || option == 'h') {
			fputs(usage, stdout);
			return EXIT_DONE;
		}
		if (option == '?')
			return usage_error("no such option", argv[optind - 1]);
		if (option == ':')
			return usage_error("a value is missing behind", argv[optind - 1]);
		if (!take_option(option, optarg, &o))
			return usage_error("not a value for this option", optarg);
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	if (o.dir == NULL)
		return usage_error("--dir is missing", NULL);
	if (lab_run(&o, &e) < 0) {
		fprintf(stderr, "tng lab: %s\n", e.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
