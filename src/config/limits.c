/* SPDX-License-Identifier: Apache-2.0 */
/* limits - keepalive, congestion control, times and sizes. */
#include <string.h>

#include "config/sections.h"

#define DAY_MS 86400000
#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* What a Certificate message of TLS can be long at most. */
#define TLS_MESSAGE_MAX ((1LL << 24) - 1)

/* What Linux takes: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT. */
#define KEEPALIVE_SECONDS_MAX 32767
#define KEEPALIVE_COUNT_MAX 127

#define CONGESTION_NAME_MAX 15 /* TCP_CA_NAME_MAX, less its end */

/* Whether the kernel has it shows when the gateway starts. */
static bool is_congestion_name(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return len > 0 && text[len] == '\0' && len <= CONGESTION_NAME_MAX;
}

static const char *check_loopback(char *text)
{
	return is_congestion_name(text) ? NULL : "expected \"auto\", \"host\" or a name such as \"cubic\"";
}

static const char *check_remote(char *text)
{
	if (is_congestion_name(text) && strcmp(text, "auto") != 0)
		return NULL;
	return "expected \"host\" or a name such as \"cubic\"";
}

/* clang-format off */
static const struct field tcp_keepalive_fields[] = {
	{ STORED_AS("enabled", FIELD_BOOL, struct config, keepalive), .fallback = true },
	{ STORED_AS("idle", FIELD_INTEGER, struct config, keepalive_idle_s), .min = 1, .max = KEEPALIVE_SECONDS_MAX, .fallback = 10 },
	{ STORED_AS("interval", FIELD_INTEGER, struct config, keepalive_interval_s), .min = 1, .max = KEEPALIVE_SECONDS_MAX, .fallback = 10 },
	{ STORED_AS("count", FIELD_INTEGER, struct config, keepalive_count), .min = 1, .max = KEEPALIVE_COUNT_MAX, .fallback = 3 },
};

static const struct field tcp_congestion_fields[] = {
	{ STORED_AS("loopback", FIELD_TEXT, struct config, congestion_loopback), .fallback_text = "auto", .check_text = check_loopback },
	{ STORED_AS("remote", FIELD_TEXT, struct config, congestion_remote), .fallback_text = "host", .check_text = check_remote },
};

static const struct field timeouts_fields[] = {
	{ STORED_AS("connect", FIELD_SECONDS, struct timeouts_conf, connect_ms), .min = 1, .max = DAY_MS, .fallback = 10000 },
	{ STORED_AS("resolve", FIELD_SECONDS, struct timeouts_conf, resolve_ms), .min = 1, .max = DAY_MS, .fallback = 10000 },
	{ STORED_AS("first_byte", FIELD_SECONDS, struct timeouts_conf, first_byte_ms), .min = 1, .max = DAY_MS, .fallback = 5000 },
	{ STORED_AS("handshake", FIELD_SECONDS, struct timeouts_conf, handshake_ms), .min = 1, .max = DAY_MS, .fallback = 30000 },
	{ STORED_AS("verify", FIELD_SECONDS, struct timeouts_conf, verify_ms), .min = 1, .max = DAY_MS, .fallback = 90000 },
	{ STORED_AS("idle", FIELD_SECONDS, struct timeouts_conf, idle_ms), .min = 0, .max = 30LL * DAY_MS, .fallback = 0 },
	{ STORED_AS("linger", FIELD_SECONDS, struct timeouts_conf, linger_ms), .min = 1, .max = DAY_MS, .fallback = 60000 },
	{ STORED_AS("pool_idle", FIELD_SECONDS, struct timeouts_conf, pool_idle_ms), .min = 1, .max = DAY_MS, .fallback = 90000 },
};

static const struct field limits_fields[] = {
	{ STORED(FIELD_INTEGER, struct limits_conf, connections), .min = 0, .max = 100000000, .fallback = 0 },
	{ STORED(FIELD_SIZE, struct limits_conf, handshake_memory), .min = MIB, .max = 1024 * GIB, .fallback = 256 * MIB },
	{ STORED(FIELD_SIZE, struct limits_conf, certificate_size), .min = 4 * KIB, .max = TLS_MESSAGE_MAX, .fallback = 4 * MIB },
	{ STORED(FIELD_SIZE, struct limits_conf, relay_memory), .min = MIB, .max = 1024 * GIB, .fallback = 64 * MIB },
	{ STORED(FIELD_INTEGER, struct limits_conf, verdict_cache), .min = 1, .max = 1000000, .fallback = 1024 },
	{ STORED(FIELD_SIZE, struct limits_conf, token_size), .min = 4 * KIB, .max = 64 * MIB, .fallback = MIB },
	{ STORED_AS("streams_per_connection", FIELD_INTEGER, struct limits_conf, streams), .min = 1, .max = 1000000, .fallback = 10000 },
	{ STORED(FIELD_INTEGER, struct limits_conf, pending_syns), .min = 1, .max = 65536, .fallback = 1024 },
};
/* clang-format on */

static void check_certificate_fits(struct reading *r, const struct place *at, void *conf)
{
	const struct limits_conf *limits = conf;

	if (limits->certificate_size > limits->handshake_memory)
		place_error(r, at, "certificate_size is above handshake_memory: no handshake could end");
}

const struct section section_tcp_keepalive = { SECTION_FIELDS(tcp_keepalive_fields), .size = sizeof(struct config) };
const struct section section_tcp_congestion = { SECTION_FIELDS(tcp_congestion_fields), .size = sizeof(struct config) };
const struct section section_timeouts = { SECTION_FIELDS(timeouts_fields), .size = sizeof(struct timeouts_conf) };
const struct section section_limits = { SECTION_FIELDS(limits_fields), .size = sizeof(struct limits_conf),
					.check = check_certificate_fits };
