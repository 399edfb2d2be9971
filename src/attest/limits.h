/* SPDX-License-Identifier: Apache-2.0 */
/* limits - what the conversations with agents and services may cost. Threads: any. */
#pragma once

/* Bytes of one answer of an agent: as large as a ttrpc frame can be. */
#define ATTEST_AGENT_ANSWER_MAX (4 * 1024 * 1024)

/* Bytes of one answer of a service, where the configuration does not say. */
#define ATTEST_TOKEN_MAX (1024 * 1024)

/* Collections of evidence at a time for one attester, when every handshake wants its own; and that wait. */
#define ATTEST_COLLECTIONS_MAX 64
#define ATTEST_COLLECTIONS_WAITING_MAX 1024

/*
 * Requests for a verdict at a time to the service of one verifier. Each may hold a connection, so no more
 * than a quarter of the descriptors that the process may have.
 */
#define ATTEST_REQUESTS_MAX 256
#define ATTEST_REQUESTS_FD_SHARE 4
