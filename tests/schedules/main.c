/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of schedules. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/mem.h"
#include "payload.h"
#include "plan.h"
#include "schedules.h"

#define NUMBER_MAX 10000000

static const char usage[] = "usage: schedules --listen PORT --connect PORT [OPTION...]   run them: service at PORT, "
			    "relay at PORT\n"
			    "       schedules --show [OPTION...]                         say what they would do\n"
			    "  --seed N       which schedules (default 1)\n"
			    "  --first N      number of the first connection (default 0)\n"
			    "  --count N      of connections (default 100)\n"
			    "  --parallel N   at the same time (default 32)\n"
			    "  --seconds N    begin nothing new after that time\n"
			    "  --deadline N   seconds in which each connection ends (default 30)\n"
			    "  --no-resets    all ends shut down cleanly\n"
			    "  --rough        small receive buffers, and a reset in most connections\n"
			    "0: all were as they should be; 1: not; 2: could not be tried.\n"
			    "One connection again: --seed N --first NUMBER --count 1\n";

struct arguments {
	struct schedules_options run;
	bool show;
};

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	*value = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && *value <= max;
}

static bool parse_argument(struct schedules_options *o, const char *name, const char *text)
{
	uint64_t value;

	if (!parse_number(text, strcmp(name, "seed") == 0 ? UINT64_MAX : NUMBER_MAX, &value))
		return false;
	if (strcmp(name, "seed") == 0)
		o->seed = value;
	else if (strcmp(name, "first") == 0)
		o->first = (uint32_t)value;
	else if (strcmp(name, "count") == 0)
		o->count = (uint32_t)value;
	else if (strcmp(name, "parallel") == 0)
		o->parallel = (unsigned)MAX(value, 1);
	else if (strcmp(name, "seconds") == 0)
		o->seconds = (unsigned)value;
	else if (strcmp(name, "deadline") == 0)
		o->deadline_ms = (unsigned)MIN(value, 3600) * 1000;
	else if (value == 0 || value > UINT16_MAX)
		return false;
	else if (strcmp(name, "listen") == 0)
		o->listen = (uint16_t)value;
	else
		o->connect = (uint16_t)value;
	return true;
}

static bool parse_arguments(struct arguments *a, int argc, char **argv)
{
	static const struct option names[] = {
		{ "listen", required_argument, NULL, 'v' },  { "connect", required_argument, NULL, 'v' },
		{ "seed", required_argument, NULL, 'v' },    { "first", required_argument, NULL, 'v' },
		{ "count", required_argument, NULL, 'v' },   { "parallel", required_argument, NULL, 'v' },
		{ "seconds", required_argument, NULL, 'v' }, { "deadline", required_argument, NULL, 'v' },
		{ "no-resets", no_argument, NULL, 'r' },     { "rough", no_argument, NULL, 'g' },
		{ "show", no_argument, NULL, 's' },	     { NULL, 0, NULL, 0 },
	};
	int at;
	int c;

	while ((c = getopt_long(argc, argv, "", names, &at)) != -1) {
		if (c == 'r')
			a->run.resets = false;
		else if (c == 'g')
			a->run.rough = true;
		else if (c == 's')
			a->show = true;
		else if (c != 'v' || !parse_argument(&a->run, names[at].name, optarg))
			return false;
	}
	return optind == argc && (a->show || (a->run.listen != 0 && a->run.connect != 0));
}

static void show(const struct schedules_options *o)
{
	for (uint32_t number = o->first; number < o->first + o->count; number++) {
		struct plan client;
		struct plan service;

		plan_make(&client, &service, o->seed, number, (struct plan_kind){ o->resets, o->rough });
		printf("connection %u\n", number);
		plan_print(stdout, "client", &client);
		plan_print(stdout, "service", &service);
	}
}

static void print_result(const struct schedules_options *o, const struct schedules_result *r)
{
	printf("{\"seed\": %" PRIu64 ", \"connections\": %" PRIu64 ", \"unseen\": %" PRIu64 ", \"resets\": %" PRIu64
	       ", \"resets_seen\": %" PRIu64 ", \"resets_lost\": %" PRIu64 ", \"bytes\": %" PRIu64
	       ", \"failures\": %" PRIu64 ", \"seconds\": %.3f}\n",
	       o->seed, r->connections, r->unseen, r->resets, r->resets_seen, r->resets_lost, r->bytes, r->failures,
	       (double)r->ms * 1e-3);
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.run = { .seed = 1, .count = 100, .parallel = 32, .deadline_ms = 30000, .resets = true },
	};
	struct schedules_result result;
	int rc;

	if (!parse_arguments(&a, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (a.show) {
		show(&a.run);
		return 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rc = schedules_run(&a.run, &result);
	print_result(&a.run, &result);
	return rc < 0;
}
