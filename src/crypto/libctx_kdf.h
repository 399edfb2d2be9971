/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libctx_kdf - TLS13-KDF for a provider, calculated here where it can be.
 *
 * libcrypto's own looks digest and HMAC up by name for each of the some twenty derivations of a
 * handshake, and copies what it is given; the arithmetic is the smaller part. A derivation whose
 * parameters come all at once and are those of libssl is made here. All others are made by
 * libcrypto's, which hides behind ours.
 *
 * Threads: any, once libctx_kdf_wrap() has returned.
 */
#pragma once

#include <stdbool.h>

#include <openssl/core.h>

#define LIBCTX_KDF_FUNCTIONS 12 /* room for what libctx_kdf_wrap() writes, its end included */

/*
 * of_default: the functions of the default provider's TLS13-KDF; provider: its object; both of the
 * first context that asks, and good for all later ones. Compares the two ways; where they differ,
 * ours is never used. false: libcrypto's is not as expected.
 */
bool libctx_kdf_wrap(const OSSL_DISPATCH *of_default, void *provider, OSSL_DISPATCH *out);

/* Whether libctx_kdf_wrap() found that both ways give the same. */
bool libctx_kdf_is_ours(void);
