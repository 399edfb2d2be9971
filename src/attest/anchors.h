/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anchors - the certificates of the service that may sign tokens, as the service itself tells them.
 *
 * They are fetched from start on, again and again with pauses of at most ANCHORS_PAUSE_MAX_MS until there
 * are some. After that they are fetched when somebody asks, since a token came whose signer they do not
 * endorse: a service may have a new key. New ones replace the old ones as a whole.
 *
 * Threads: all calls and callbacks on the attestation loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/cert.h"

struct anchors;
struct as_client;
struct loop;

#define ANCHORS_PAUSE_MAX_MS 10000
#define ANCHORS_REFRESH_PAUSE_MS 10000 /* between two fetches while there are some */
#define ANCHORS_ASKED_PAUSE_MS 1000    /* between two fetches that were asked for while there are none */

struct anchors_events {
	/* A fetch has ended, well or badly. Never from inside anchors_ask(). */
	void (*fetched)(struct anchors_events *self);
};

/* keeps client, name and events. */
struct anchors *anchors_new(struct loop *l, struct as_client *client, const char *name, struct anchors_events *events);
void anchors_start(struct anchors *a);
/* Not from inside fetched. */
void anchors_free(struct anchors *a);

/* Borrowed until the next fetched; NULL while there are none. */
const struct cert_list *anchors_list(const struct anchors *a);

/* Asks for a fetch. true: one is under way, fetched will be called; false: the last was too short ago. */
bool anchors_ask(struct anchors *a);

/* Why the last fetch failed; borrowed. */
const struct err *anchors_why(const struct anchors *a);
