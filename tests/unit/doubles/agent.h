/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - plays an attestation agent on a unix socket, on the test's own loop.
 *
 * Threads: the loop's.
 */
#pragma once

#include "attest/coco/ttrpc_frame.h"
#include "io/loop.h"

struct agent_conn {
	struct list link;
	struct agent *agent;
	struct watch watch;
	struct buf in;
};

struct agent_request {
	struct agent_conn *conn;
	uint32_t stream;
	struct ttrpc_request_in in;
};

struct agent {
	struct loop *loop;
	struct watch listener;
	char path[108];
	struct list conns;
	unsigned connections;
	unsigned requests;
	unsigned evidence_requests;
	bool deaf; /* accepts, but does not read */
	/* What to do with a request; agent_behave() when NULL. */
	void (*on_request)(struct agent *self, struct agent_request *req);
};

/* Listens in a new directory. */
void agent_start(struct agent *a, struct loop *l);
/* Closes everything; agent_listen() opens the same path again. */
void agent_stop(struct agent *a);
void agent_listen(struct agent *a);
void agent_free(struct agent *a);

/* Answers as an agent of the sample TEE without devices does. */
void agent_behave(struct agent *a, struct agent_request *req);

void agent_answer(struct agent_conn *c, uint32_t stream, int code, const char *message, struct bytes payload);
void agent_send(struct agent_conn *c, struct bytes raw);
void agent_close(struct agent_conn *c);

/* Appends the payload of a response to GetEvidence or GetTeeType. */
void agent_format_bytes(struct bytes value, struct buf *out);
