/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider - where evidence comes from: an agent over ttrpc, one over HTTP, or this process.
 *
 * Each variant exports one struct of functions. Any number of calls run side by side, and none of them
 * outlives its time-out.
 *
 * Threads: all calls and callbacks on the attestation loop.
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "config/config.h"

struct loop;
struct provider;
struct provider_call;

struct provider_evidence {
	char *tee; /* as the agent spells it */
	struct buf evidence;
	bool has_additional;
	struct buf additional; /* not yet known to be JSON */
};
void provider_evidence_release(struct provider_evidence *ev);

/* Embed in the owner. The content of ev may be taken out of it; it is released afterwards. NULL: failed. */
struct provider_events {
	void (*collected)(struct provider_events *self, struct provider_evidence *ev, const struct err *why);
};

struct provider_ops {
	const char *name;
	/* keeps conf. Contacts nobody yet. */
	struct provider *(*open)(struct loop *l, const struct attest_conf *conf, struct err *e);
	/* keeps events until collected or cancel. report_data: what the TEE is to sign. */
	struct provider_call *(*collect)(struct provider *p, struct bytes report_data, struct provider_events *events);
	void (*cancel)(struct provider_call *call);
	/* No call may be under way. */
	void (*close)(struct provider *p);
};

extern const struct provider_ops provider_aa;
extern const struct provider_ops provider_asr;
extern const struct provider_ops provider_builtin;

const struct provider_ops *provider_of(const struct attest_conf *conf);
