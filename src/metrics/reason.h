/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reason - why a flow, a handshake or a verification ended: a stable word for logs and counters.
 *
 * The words are an interface: operators match on them. docs/configuration.md lists them.
 *
 * Threads: any.
 */
#pragma once

#define REASONS(X)                                                                                                     \
	X(DONE, "done", "both directions ended cleanly")                                                               \
	X(SHUTDOWN, "shutdown", "reset because the gateway was stopping")                                              \
	X(IDLE, "idle_timeout", "no byte in either direction for timeouts.idle")                                       \
	X(CLIENT_RESET, "client_reset", "the application that connected reset its connection")                         \
	X(SERVICE_RESET, "service_reset", "the service reset its connection")                                          \
	X(SERVICE_REFUSED, "service_refused", "the service did not accept the connection")                             \
	X(SERVICE_UNREACHABLE, "service_unreachable", "no way to the service")                                         \
	X(SERVICE_TIMEOUT, "service_timeout", "the service did not answer in timeouts.connect")                        \
	X(RESOLVE_FAILED, "resolve_failed", "a host name has no address")                                              \
	X(PEER_REFUSED, "peer_refused", "the other gateway did not accept the connection")                             \
	X(PEER_UNREACHABLE, "peer_unreachable", "no way to the other gateway")                                         \
	X(PEER_TIMEOUT, "peer_timeout", "the other gateway did not answer in timeouts.connect")                        \
	X(PEER_CLOSED, "peer_closed", "the other gateway closed before the tunnel was up")                             \
	X(PEER_DECLINED, "peer_declined", "the other gateway answered CONNECT with an error")                          \
	X(FIRST_BYTE_TIMEOUT, "first_byte_timeout", "a connection sent nothing")                                       \
	X(TLS_TIMEOUT, "tls_timeout", "the handshake did not end in timeouts.handshake")                               \
	X(TLS_PLAINTEXT, "tls_plaintext", "the peer does not speak TLS")                                               \
	X(TLS_VERSION, "tls_version", "the peer does not speak TLS 1.3")                                               \
	X(TLS_ALPN, "tls_alpn", "no common tunnel protocol: see rats_tls.multiplex")                                   \
	X(TLS_NO_CERTIFICATE, "tls_no_certificate", "the peer sent no certificate")                                    \
	X(TLS_FAILED, "tls_failed", "the handshake failed in another way")                                             \
	X(TLS_ALERT, "tls_alert", "the peer ended the handshake with an alert")                                        \
	X(CERTIFICATE_TOO_LARGE, "certificate_too_large", "over limits.certificate_size")                              \
	X(HANDSHAKE_MEMORY, "handshake_memory", "over limits.handshake_memory")                                        \
	X(TUNNEL_TRUNCATED, "tunnel_truncated", "the tunnel ended without close_notify")                               \
	X(TUNNEL_RESET, "tunnel_reset", "the other gateway reset the tunnel")                                          \
	X(TUNNEL_PROTOCOL, "tunnel_protocol", "the other gateway broke TLS or HTTP/2")                                 \
	X(NO_EVIDENCE, "no_evidence", "the peer's certificate holds no evidence")                                      \
	X(CERTIFICATE_INVALID, "certificate_invalid", "not a self-signed RATS-TLS certificate")                        \
	X(EVIDENCE_INVALID, "evidence_invalid", "the evidence extension cannot be decoded")                            \
	X(MODEL_MISMATCH, "model_mismatch", "evidence where a token is expected, or the reverse")                      \
	X(BINDING_MISMATCH, "binding_mismatch", "evidence or token belongs to another key")                            \
	X(AS_UNAVAILABLE, "as_unavailable", "the attestation service cannot be reached")                               \
	X(AS_TIMEOUT, "as_timeout", "the attestation service did not answer in time")                                  \
	X(AS_REFUSED, "as_refused", "the attestation service refused the evidence")                                    \
	X(AS_MALFORMED, "as_malformed", "the attestation service's answer cannot be read")                             \
	X(TOKEN_INVALID, "token_invalid", "the token cannot be decoded or lacks a claim")                              \
	X(TOKEN_SIGNATURE, "token_signature", "the token's signature is wrong")                                        \
	X(TOKEN_UNTRUSTED, "token_untrusted", "no trust anchor endorses the token's key")                              \
	X(TOKEN_EXPIRED, "token_expired", "the token's exp has passed")                                                \
	X(TOKEN_EARLY, "token_not_yet_valid", "the token's nbf is in the future")                                      \
	X(TOKEN_STATUS, "token_status", "the token does not affirm")                                                   \
	X(TOKEN_POLICY, "token_policy", "the token does not name the configured policies")                             \
	X(POLICY_REFUSED, "policy_refused", "the builtin policy refuses this evidence")                                \
	X(ATTESTER_UNAVAILABLE, "attester_unavailable", "we have no valid evidence of our own")                        \
	X(LIMIT_CONNECTIONS, "limit_connections", "over limits.connections")                                           \
	X(LIMIT_STREAMS, "limit_streams", "over the streams that the other gateway allows")                            \
	X(LIMIT_PENDING_SYNS, "limit_pending_syns",                                                                    \
	  "over limits.pending_syns: the client that waited longest gave way")                                         \
	X(NO_DESCRIPTORS, "no_descriptors", "the process has no file descriptor left")                                 \
	X(RECURSION, "recursion", "a connection to our own listening port")                                            \
	X(NO_DESTINATION, "no_destination", "the kernel does not know where a captured connection was going")          \
	X(SOURCE_TAKEN, "source_taken", "the client's address and port cannot be dialed from now")                     \
	X(CLIENT_ABSENT, "client_absent", "connect_first: the tunnel was open, but the client did not come")           \
	X(PROXY_HEADER, "proxy_header", "a PROXY protocol header that is missing, broken or not allowed")              \
	X(INTERNAL, "internal", "the kernel or a library refused")

enum reason {
#define X(name, word, text) REASON_##name,
	REASONS(X)
#undef X
		REASON_COUNT
};

/* The stable word, e.g. "service_refused". */
const char *reason_word(enum reason r);

/* What it means, for people. */
const char *reason_text(enum reason r);
