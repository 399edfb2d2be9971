/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - the client and the service of a measurement, on loopback if not told otherwise, bounded in time and count.
 *
 * Whoever drives it measures what stands in between: a client prints "ready" when its connections
 * stand, waits for a line on standard input, does its exchanges, prints one line of JSON, and keeps
 * its connections until the end of standard input. What it has to do is named by its mode.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "load/drive.h"
#include "load/serve.h"

#define CLIENTS_MAX 100000
#define TIME_LIMIT_S 60
#define SERVE_S 7200
#define SMALL 100 /* bytes of a request, and of an answer */
#define BULK_BYTES (256u << 20)
#define COMPARE_BYTES (3u << 20)

static const char usage[] = "usage: load serve --port P [--seconds S]\n"
			    "       load bulk  --port P [--clients N] [--bytes B] [--direction up|down]\n"
			    "       load conn  --port P [--clients N] [--bytes B] [--seconds S] [--count C]\n"
			    "       load req   --port P [--clients N] [--bytes B] [--seconds S] [--count C]\n"
			    "       load idle  --port P [--clients N]\n"
			    "       load check --port P [--clients N] [--bytes B]\n"
			    "bulk   each client moves B bytes one way\n"
			    "conn   each exchange of B bytes up and B down has a connection of its own\n"
			    "req    as conn, on connections that stay\n"
			    "idle   one byte comes down each connection; they are held, and used once more\n"
			    "check  B bytes up and B down, compared at both ends\n"
			    "All but serve: --time-limit S for preparing and for running, --host A (127.0.0.1).\n";

struct arguments {
	struct in_addr host;
	uint16_t port;
	unsigned clients;
	uint64_t bytes;
	bool up;
	double seconds;
	uint64_t count;
	unsigned time_limit_s;
};

static int wrong_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

/* 0 for what is no number from 1 to max. */
static uint64_t parse_number(const char *text, uint64_t max)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	return *end != '\0' || value > max ? 0 : value;
}

static bool parse_argument(struct arguments *a, const char *name, const char *value)
{
	char *end;

	if (strcmp(name, "host") == 0)
		return inet_pton(AF_INET, value, &a->host) == 1;
	if (strcmp(name, "port") == 0)
		return (a->port = (uint16_t)parse_number(value, 65535)) != 0;
	if (strcmp(name, "clients") == 0)
		return (a->clients = (unsigned)parse_number(value, CLIENTS_MAX)) != 0;
	if (strcmp(name, "bytes") == 0)
		return (a->bytes = parse_number(value, INT64_MAX)) != 0;
	if (strcmp(name, "count") == 0)
		return (a->count = parse_number(value, INT64_MAX)) != 0;
	if (strcmp(name, "time-limit") == 0)
		return (a->time_limit_s = (unsigned)parse_number(value, 3600)) != 0;
	if (strcmp(name, "direction") == 0) {
		a->up = strcmp(value, "up") == 0;
		return a->up || strcmp(value, "down") == 0;
	}
	a->seconds = strtod(value, &end);
	return *end == '\0' && a->seconds > 0 && a->seconds <= SERVE_S;
}

static bool parse_arguments(struct arguments *a, int argc, char **argv)
{
	static const struct option names[] = {
		{ "host", required_argument, NULL, 0 },
		{ "port", required_argument, NULL, 0 },
		{ "clients", required_argument, NULL, 0 },
		{ "bytes", required_argument, NULL, 0 },
		{ "direction", required_argument, NULL, 0 },
		{ "seconds", required_argument, NULL, 0 },
		{ "count", required_argument, NULL, 0 },
		{ "time-limit", required_argument, NULL, 0 },
		{ NULL, 0, NULL, 0 },
	};
	int at;

	while (getopt_long(argc, argv, "", names, &at) == 0) {
		if (!parse_argument(a, names[at].name, optarg))
			return false;
	}
	return optind == argc && a->port != 0;
}

static bool set_mode(struct drive_options *o, const char *mode, const struct arguments *a)
{
	uint64_t small = a->bytes > 0 ? a->bytes : SMALL;
	uint64_t large = a->bytes > 0 ? a->bytes : BULK_BYTES;

	if (strcmp(mode, "bulk") == 0) {
		o->once = true;
		o->exchange = a->up ? (struct exchange){ .up = large, .down = 1 } : (struct exchange){ .down = large };
		return true;
	}
	if (strcmp(mode, "conn") == 0 || strcmp(mode, "req") == 0) {
		o->reconnect = strcmp(mode, "conn") == 0;
		o->exchange = (struct exchange){ .up = small, .down = small };
		return true;
	}
	if (strcmp(mode, "idle") == 0) {
		o->once = true;
		o->exchange = (struct exchange){ .down = 1 };
		return true;
	}
	large = a->bytes > 0 ? a->bytes : COMPARE_BYTES;
	o->once = true;
	o->exchange = (struct exchange){ .up = large, .down = large, .compare = true };
	return strcmp(mode, "check") == 0;
}

static double quantile_us(const struct drive_result *r, double share)
{
	return (double)histogram_quantile(&r->times_ns, share) * 1e-3;
}

static void print_result(const struct drive_result *r)
{
	printf("{\"exchanges\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"open\": %" PRIu64
	       ", \"wall_s\": %.6f, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f, \"error\": %s%s%s}\n",
	       r->exchanges, r->bytes, r->failed, r->open, r->wall_s, quantile_us(r, 0.5), quantile_us(r, 0.9),
	       quantile_us(r, 0.99), (double)r->times_ns.max * 1e-3, r->error != NULL ? "\"" : "",
	       r->error != NULL ? r->error : "null", r->error != NULL ? "\"" : "");
	fflush(stdout);
}

/* A driver that has gone away is an end of input too. */
static bool wait_for_line(void)
{
	char line[16];

	return fgets(line, sizeof(line), stdin) != NULL;
}

static int drive(const struct drive_options *o)
{
	static struct drive_result result;
	struct drive *d = drive_new(o);

	drive_prepare(d, &result);
	if (result.error == NULL && result.failed == 0) {
		puts("ready");
		fflush(stdout);
		if (!wait_for_line())
			goto out;
		drive_run(d, &result);
	}
	print_result(&result);
	while (wait_for_line())
		;
out:
	drive_free(d);
	return result.error != NULL || result.failed > 0;
}

int main(int argc, char **argv)
{
	struct arguments a = { .clients = 1, .seconds = 1, .count = INT64_MAX, .time_limit_s = TIME_LIMIT_S };
	struct drive_options o = { 0 };
	bool serving = argc > 1 && strcmp(argv[1], "serve") == 0;

	if (serving)
		a.seconds = SERVE_S;
	if (argc < 2 || !parse_arguments(&a, argc - 1, argv + 1))
		return wrong_usage();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (serving)
		return serve(a.port, (unsigned)a.seconds);
	o.host = a.host;
	o.port = a.port;
	o.clients = a.clients;
	o.seconds = a.seconds;
	o.count = a.count;
	o.time_limit_s = a.time_limit_s;
	if (!set_mode(&o, argv[1], &a))
		return wrong_usage();
	alarm(4 * a.time_limit_s + (unsigned)a.seconds);
	return drive(&o);
}
