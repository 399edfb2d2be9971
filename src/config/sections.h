/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sections - the tables of the format, in the order of docs/configuration.md.
 *
 * Threads: any; constant.
 */
#pragma once

#include "config/schema.h"

/* config.c: a struct of its own, which begins with struct config */
extern const struct section section_document;

/* entry.c: struct entry_conf */
extern const struct section section_ingress;
extern const struct section section_egress;

/* mapping.c: struct entry_conf; mapping_read() also takes the form without rules */
extern const struct section section_mapping;
bool mapping_read(struct reading *r, const struct place *at, void *conf);
void mapping_write(const void *conf, unsigned indent, struct buf *out);

/* Who judges; of both of the following. */
extern const struct choice as_providers[];

/* attest.c: struct attest_conf; verify.c: struct verify_conf */
extern const struct section section_attest;
extern const struct section section_verify;

/* limits.c: struct config, struct timeouts_conf, struct limits_conf */
extern const struct section section_tcp_keepalive;
extern const struct section section_tcp_congestion;
extern const struct section section_timeouts;
extern const struct section section_limits;

/* netfilter.c: struct entry_conf; what is in the object beside the entry's own */
extern const struct section section_netfilter;
bool ingress_netfilter_read(struct reading *r, const struct place *at, void *conf);
bool egress_netfilter_read(struct reading *r, const struct place *at, void *conf);
void netfilter_write(const void *conf, unsigned indent, struct buf *out);

/* netfilter.c: the rules between the entries of a document without mistakes. The lists are indexed by kind. */
struct captures {
	const struct interception_conf *interception;
	const struct entry_conf *entries[2];
	size_t counts[2];
};

void check_captures(struct reading *r, const struct place *root, const struct captures *c);

/* transparency.c: struct transparency_conf, struct proxy_protocol_conf */
extern const struct section section_transparency;
extern const struct section section_proxy_protocol;
void transparency_write(const void *conf, unsigned indent, struct buf *out);
void proxy_protocol_write(const void *conf, unsigned indent, struct buf *out);

/* Moves what a mode's object has of them to the entry. */
void entry_take_transparency(struct entry_conf *entry, struct transparency_conf *t, struct proxy_protocol_conf *p);

/* interception.c: struct interception_conf */
extern const struct section section_interception;

/* The features that are still to come: nothing is stored. */

/* later_modes.c */
extern const struct section section_http_proxy;
extern const struct section section_socks5;
extern const struct section section_ingress_hook;
extern const struct section section_egress_hook;
extern const struct section section_mapping_udp;
extern const struct section section_quic;
extern const struct section section_direct_forward;

/* later_netfilter.c */
extern const struct section section_ingress_netfilter_udp;
extern const struct section section_egress_netfilter_udp;
extern const struct section section_wccp;

/* later_ohttp.c */
extern const struct section section_ingress_ohttp;
extern const struct section section_egress_ohttp;

/* later_observe.c */
extern const struct section section_metric;
extern const struct section section_trace;
extern const struct section section_control_interface;
extern const struct section section_admin_bind;

/* later_policy.c */
extern const struct section section_attestation_policy; /* struct verify_conf */
extern const struct section section_reference_value;

/* A mode's object may hold these beside its own keys; struct_ has both as members. */
/* clang-format off */
#define FIELDS_OF_EVERY_MODE(struct_)                                                          \
	{ STORED(FIELD_OBJECT, struct_, transparency), .section = &section_transparency,       \
	  .write = transparency_write, .apart = true },          \
	{ STORED(FIELD_OBJECT, struct_, proxy_protocol), .section = &section_proxy_protocol,   \
	  .write = proxy_protocol_write, .apart = true }

/* The same where a mode is still to come. */
#define FIELDS_OF_EVERY_LATER_MODE                                                             \
	{ CHECKED(FIELD_OBJECT, "transparency"), .section = &section_transparency, .later = true,  \
	  .apart = true },                                                                     \
	{ CHECKED(FIELD_OBJECT, "proxy_protocol"), .section = &section_proxy_protocol,         \
	  .later = true, .apart = true }
/* clang-format on */

/* Remembers that an entry listens there, for the rule against overlaps. */
void claim_listen(struct reading *r, const struct place *at, const char *host, uint16_t port, uint16_t port_end);

/* A range of ports that is written backwards, or an end without a beginning. */
void check_port_range(struct reading *r, const struct place *at, const char *port, const char *port_end);
