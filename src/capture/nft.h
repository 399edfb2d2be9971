/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nft - nftables through its library.
 *
 * The session keeps one netlink socket for its life: a table with the owner flag goes with it, however the process
 * ends. So there is one session in the guard, and no other process may hold a copy of its descriptor.
 *
 * Threads: one.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

struct nft_session;

/* gives a session. */
struct nft_session *nft_open(struct err *e);
void nft_close(struct nft_session *s);

/* One transaction: all of text or nothing. what: for the error, as "load the rules". */
int nft_load(struct nft_session *s, const char *text, const char *what, struct err *e) MUST_CHECK;

/* The same, and what it prints is appended to out. nft_list(): without counters and sets that fill by themselves. */
int nft_ask(struct nft_session *s, const char *text, struct buf *out, struct err *e) MUST_CHECK;
int nft_list(struct nft_session *s, const char *text, struct buf *out, struct err *e) MUST_CHECK;
