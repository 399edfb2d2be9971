/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate - with open_ports "connect_first", a client is answered when its tunnel is open, and not before.
 *
 *   first packet --> WAITING --tunnel open--> let in --> LET_IN --client came, or did not in time--> forgotten
 *                       |
 *                       +----tunnel failed--> refused: reset by the kernel's rules
 *
 * The packets wait in the kernel's queue. What is known of them is here; the tunnels are the workers' (knock.h). There
 * are at most limits.pending_syns of them, shared equally by the entries; when an entry has used up its share, the one
 * that waits longest gives way: its packet is dropped, and sent again by its client. So somebody who asks for many that
 * do not answer makes others wait, but keeps nobody out.
 *
 * Threads: the main thread; gate_tell() from any.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "io/sock.h"

struct gate;
struct gateway;

/*
 * Becomes the reader of the queues, before the rules lead there: g->gate, or NULL where no entry needs it. The main
 * loop does the rest.
 */
int gate_open(struct gateway *g, struct err *e) MUST_CHECK;

/* What waits is dropped. */
void gate_close(struct gateway *g);

/* Clients of this entry are asked for first. */
bool gate_is_before(const struct entry_conf *conf);

/* What has become of a tunnel. */
enum knock_news {
	KNOCK_OPENED, /* it waits for its client */
	KNOCK_ENDED,  /* before that: it failed; after that: the client has come, or did not */
};

/* serial: of knock_open(). */
void gate_tell(struct gateway *g, uint64_t serial, enum knock_news news);
