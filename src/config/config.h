/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - the operator's document as constants.
 *
 * Text becomes these structs once, at start. Modules get a pointer to their own struct and never see
 * JSON. Every default, limit and error text of the format is in src/config.
 *
 * Threads: any; a loaded configuration is constant.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* A list of strings; count 0 when absent. */
struct string_list {
	char **items;
	size_t count;
};

struct header_conf {
	char *name;
	char *value;
};

enum ra_model { MODEL_BACKGROUND_CHECK, MODEL_PASSPORT };
enum aa_provider { AA_COCO, AA_COCO_ASR };
enum aa_type { AA_UDS, AA_BUILTIN };
enum as_type { AS_RESTFUL, AS_GRPC, AS_BUILTIN };
enum tls_records { TLS_RECORDS_OWN, TLS_RECORDS_LIBSSL };
enum binding { BINDING_CURRENT, BINDING_LEGACY, BINDING_BOTH };
enum builtin_policy { POLICY_HARDWARE_ONLY, POLICY_TRUST_ALL };

/* How to reach an attestation service; shared by attest (passport) and verify. */
struct as_conf {
	enum as_type type;
	char *addr; /* URL without trailing '/', or NULL */
	struct string_list policy_ids;
	struct header_conf *headers;
	size_t header_count;
	unsigned connect_timeout_ms;
	unsigned timeout_ms;
	size_t answer_max; /* limits.token_size; 0: ATTEST_TOKEN_MAX */
};

struct attest_conf {
	enum ra_model model;
	enum aa_provider provider;
	enum aa_type aa_type;
	char *aa_addr;	/* "unix:///path", AA_COCO with AA_UDS */
	char *asr_addr; /* URL without trailing '/', AA_COCO_ASR */
	unsigned aa_timeout_ms;
	unsigned refresh_interval_s; /* 0: fresh evidence for every handshake */
	struct as_conf as;	     /* MODEL_PASSPORT */
};

struct verify_conf {
	enum ra_model model;
	struct as_conf as; /* as.addr may be NULL in MODEL_PASSPORT */
	struct string_list trusted_certs_paths;
	bool skip_as_token_cert_verify;
	bool verify_signer_transparency;
	enum builtin_policy builtin_policy; /* as.type AS_BUILTIN */
	unsigned verdict_max_age_s;
};

/* in: where we listen; out: where it goes. Port p of in goes to the port at the same place of out. */
struct mapping_rule_conf {
	char *in_host; /* "0.0.0.0" when absent */
	uint16_t in_port;
	uint16_t in_port_end; /* == in_port without a range */
	char *out_host;
	uint16_t out_port;
	uint16_t out_port_end;
};

/* An element of capture_dst or exclude_dst: what is set must match all together (interception.md 1.2). */
struct dst_conf {
	char *host;	   /* "10.0.0.0/24", "fd00::/8": with its prefix and no bits behind it; or NULL */
	char *ipset;	   /* or NULL */
	uint16_t port;	   /* 0: any */
	uint16_t port_end; /* == port without a range */
};

enum capture_scope { SCOPE_LOCAL, SCOPE_FORWARD, SCOPE_BOTH };
enum capture_method { METHOD_TPROXY, METHOD_REDIRECT };
enum ipv6_policy { IPV6_UNSET, IPV6_BYPASS, IPV6_REJECT, IPV6_CAPTURE };
enum open_ports { OPEN_PORTS_ACCEPT, OPEN_PORTS_NEGATIVE_CACHE, OPEN_PORTS_CONNECT_FIRST };

struct netfilter_conf {
	struct dst_conf *capture_dst;
	size_t capture_dst_count;
	struct dst_conf *exclude_dst;
	size_t exclude_dst_count;
	struct string_list capture_cgroup; /* paths below the cgroup2 mount */
	struct string_list nocapture_cgroup;
	struct string_list in_ifname;
	uint16_t listen_port; /* 0: found at start */
	uint32_t so_mark;
	enum ipv6_policy ipv6;
	enum capture_scope scope;   /* ingress */
	enum capture_method method; /* ingress */
	enum open_ports open_ports; /* ingress */
	unsigned negative_cache_ms; /* OPEN_PORTS_NEGATIVE_CACHE: what was refused is refused for so long */
	bool capture_local_traffic; /* egress */
};

/* Whose address shows (interception.md 4.1). in: we answer in the server's name; out: we dial in the client's. */
struct transparency_conf {
	bool in;
	bool out;
	bool client_port; /* out: with the client's port as well */
};

enum proxy_protocol_version { PROXY_PROTOCOL_NONE, PROXY_PROTOCOL_V1, PROXY_PROTOCOL_V2 };

struct proxy_protocol_conf {
	struct string_list accept_from; /* CIDR; these begin with a header, and nobody else may */
	enum proxy_protocol_version send;
};

enum interception_backend { BACKEND_AUTO, BACKEND_NFT, BACKEND_IPTABLES, BACKEND_NONE };

/* How captured traffic is diverted; of the process. */
struct interception_conf {
	enum interception_backend backend;
	char *instance;	    /* names tables, chains, the lock and the journal */
	uint32_t mark_mask; /* of the bits of a mark that are ours */
	uint8_t protocol;   /* of our routes and policy rules (rtnetlink's rtm_protocol) */
	bool drop_on_exit;  /* what was captured stays blocked when we end */
	unsigned check_ms;  /* between two looks at the rules, beside what the kernel tells; 0: none */
};

enum entry_kind { ENTRY_INGRESS, ENTRY_EGRESS };
enum tristate { TRI_UNSET, TRI_FALSE, TRI_TRUE };

struct entry_conf {
	enum entry_kind kind;
	unsigned index;
	char *path; /* "add_ingress[0]" */

	struct mapping_rule_conf *rules;
	size_t rule_count;
	struct netfilter_conf *netfilter; /* NULL: mapping */
	struct transparency_conf transparency;
	struct proxy_protocol_conf proxy_protocol;

	bool no_ra;
	struct attest_conf *attest; /* NULL: not configured */
	struct verify_conf *verify;

	enum tristate multiplex;	    /* ingress: unset is false; egress: unset takes both */
	unsigned multiplex_max_streams;	    /* 0: unset */
	unsigned multiplex_max_connections; /* 0: unset */
	enum binding binding;
};

struct timeouts_conf {
	unsigned connect_ms; /* TCP connect, for each address */
	unsigned resolve_ms;
	unsigned first_byte_ms;
	unsigned handshake_ms;
	unsigned verify_ms;    /* waiting for a verdict, above the service's own time-outs */
	unsigned idle_ms;      /* 0: never */
	unsigned linger_ms;    /* for our last bytes, when both directions have ended */
	unsigned pool_idle_ms; /* a tunnel session without streams */
	unsigned drain_ms;
};

struct limits_conf {
	size_t connections;	 /* 0: from the descriptor limit */
	size_t handshake_memory; /* bytes */
	size_t certificate_size; /* bytes of one peer's Certificate message */
	size_t relay_memory;	 /* bytes of buffers in flight */
	size_t verdict_cache;	 /* entries */
	size_t token_size;	 /* bytes of an answer of an attestation service */
	unsigned streams;	 /* that an egress announces for each session */
	unsigned pending_syns;	 /* OPEN_PORTS_CONNECT_FIRST: who waits for a tunnel, and tunnels that wait for their
				    clients */
};

/* A file that the configuration names; it must be readable when the gateway starts. */
struct config_file {
	char *path;
	char *place; /* "file:3:17: add_ingress[0].verify.trusted_certs_paths[0]" */
};

struct config {
	struct entry_conf *entries; /* ingresses first, then egresses */
	size_t entry_count;
	unsigned workers;	      /* 0: one for each CPU that we may run on */
	char *aead;		      /* "auto", or the name of an implementation */
	enum tls_records tls_records; /* who seals and opens after the handshake */
	bool keepalive;
	unsigned keepalive_idle_s;
	unsigned keepalive_interval_s;
	unsigned keepalive_count;
	char *congestion_loopback; /* "auto", "host", or a name */
	char *congestion_remote;   /* "host", or a name */
	unsigned resolve_cache_s;
	struct timeouts_conf timeouts;
	struct limits_conf limits;
	struct interception_conf interception;
	struct config_file *files;
	size_t file_count;
};

/* All that is wrong or old, in the order of the document, one line each: "file:3:17: add_ingress[0].x: ...". */
struct config_report {
	struct string_list errors;
	struct string_list warnings;
};

/*
 * gives a configuration, config_free(); NULL when report->errors is not empty. source names the text in
 * messages (a file name, or "--config-content"). Nothing is opened, resolved or contacted.
 */
struct config *config_load(struct bytes text, const char *source, struct config_report *report);
void config_free(struct config *c);
void config_report_release(struct config_report *report);

/* Looks whether the files can be read; those that cannot are added to report->errors. true: all can. */
bool config_check_files(const struct config *c, struct config_report *report);

/* The effective document with all defaults, as indented JSON. */
void config_format(const struct config *c, struct buf *out);
