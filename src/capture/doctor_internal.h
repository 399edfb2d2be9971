/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_internal - what the files of the doctor share. */
#pragma once

#include <sys/capability.h>

#include "base/err.h"
#include "capture/doctor.h"

/* What a configuration needs of the host; without one, what any capture needs. */
struct doctor_needs {
	bool capture; /* any at all */
	bool redirect;
	bool tproxy;
	bool ipv6;
	bool ipset;
	bool cgroup;
	bool queue;	  /* NFQUEUE */
	bool forward;	  /* what passes through this host */
	bool bridge;	  /* what passes through a bridge of this host */
	bool transparent; /* sockets with foreign addresses */
	bool nft;	  /* by the back end that is configured */
	bool iptables;
	bool any_backend; /* auto: one of them */
	bool given;	  /* there is a configuration */
};

/* One that is not needed never fails: it is worth a note. found and advice are copied; advice NULL or "": none. */
void doctor_add(struct doctor_report *r, const char *group, const char *name, enum doctor_result result, bool needed,
		const char *advice, const char *fmt, ...) PRINTF_LIKE(7, 8);

bool doctor_has_capability(cap_value_t which);

/* doctor_bridge.c: whether it captures there; and the rules that stand, port by port. */
bool doctor_needs_bridge(const struct config *c);
void doctor_look_at_bridge_rules(const struct config *c, const char *table, bool nft, struct doctor_report *r);

/* doctor_rules.c: the rules that stand, line by line against the configuration's; how often each has been met. */
void doctor_compare_rules(const struct config *c, const char *table, bool nft, struct doctor_report *r);
void doctor_look_at_hits(const struct config *c, bool nft, struct doctor_report *r);

/* doctor_wire.c */
void doctor_add_wire(const struct config *c, struct doctor_report *r);

/* doctor_scratch.c, for a child: standard error goes nowhere; this process is alone in a new network namespace. */
void doctor_silence(void);
int doctor_enter_scratch(void) MUST_CHECK;

/* doctor_scratch.c: the kernel's features; doctor_host.c: rights, tools, settings; doctor_running.c: what stands. */
void doctor_try_kernel(const struct doctor_needs *needs, struct doctor_report *r);
void doctor_look_at_host(const struct doctor_needs *needs, struct doctor_report *r);
void doctor_look_at_ports(const struct config *c, struct doctor_report *r);
void doctor_look_at_running(const struct doctor_options *options, const struct doctor_needs *needs,
			    struct doctor_report *r);
