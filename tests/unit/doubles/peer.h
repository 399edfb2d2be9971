/* SPDX-License-Identifier: Apache-2.0 */
/* peer - keys with evidence and the certificates that a peer presents. Threads: any. */
#pragma once

#include "attest/evidence.h"
#include "crypto/key.h"

struct identity;

struct peer {
	struct key *key;
	struct buf spki;
	struct key_binding binding;
	struct coco_evidence evidence; /* sample, four members, bound to the key */
	struct buf cert_der;
	uint8_t cert_sha256[32];
};

/* A fresh key, evidence for it, and a certificate with that evidence. */
void peer_init(struct peer *p, enum binding binding);
void peer_release(struct peer *p);

/* Replaces the certificate. claims_buffer as the binding wants it. */
void peer_certify_evidence(struct peer *p, enum binding binding);
void peer_certify(struct peer *p, uint64_t tag, struct bytes raw);
/* With this extension content; empty: no extension. */
void peer_certify_extension(struct peer *p, struct bytes extension);

/* gives what presents the certificate in a handshake (identity_unref). */
struct identity *peer_identity(const struct peer *p);
