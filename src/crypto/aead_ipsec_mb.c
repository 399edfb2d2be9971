/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aead_ipsec_mb - AES-GCM of libipsec-mb, which uses the widest instructions of the CPU.
 *
 * Of the library's manager only the addresses of the GCM routines for this CPU are of interest.
 * They are plain functions that keep nothing between calls, so one set of them serves all threads,
 * and the manager with its 200 KiB of queues is given back once they are known.
 */
#include <intel-ipsec-mb.h>

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/aead_internal.h"

#include <openssl/crypto.h>

struct gcm_routines {
	aes_gcm_pre_t expand;
	aes_gcm_enc_dec_t enc;
	aes_gcm_enc_dec_t dec;
	aes_gcm_init_t init;
	aes_gcm_enc_dec_update_t enc_update;
	aes_gcm_enc_dec_finalize_t enc_finalize;
};

struct ipsec_mb_key {
	struct gcm_key_data expanded;
	const struct gcm_routines *with;
};

/* The routines read expanded keys in units of a cache line. */
#define KEY_ALIGNMENT 64

/* Constant after start(). */
static struct gcm_routines aes_128;
static struct gcm_routines aes_256;
static const char *arch_name;

/* Only names that every version of the library has: 2.0 has dropped AVX and the emulation without AES-NI. */
static const char *name_of(IMB_ARCH arch)
{
	if (arch == IMB_ARCH_SSE)
		return "SSE";
	if (arch == IMB_ARCH_AVX2)
		return "AVX2";
	if (arch == IMB_ARCH_AVX512)
		return "AVX512";
	return "other";
}

static void take_routines(const IMB_MGR *mgr)
{
	aes_128 = (struct gcm_routines){
		.expand = mgr->gcm128_pre,
		.enc = mgr->gcm128_enc,
		.dec = mgr->gcm128_dec,
		.init = mgr->gcm128_init,
		.enc_update = mgr->gcm128_enc_update,
		.enc_finalize = mgr->gcm128_enc_finalize,
	};
	aes_256 = (struct gcm_routines){
		.expand = mgr->gcm256_pre,
		.enc = mgr->gcm256_enc,
		.dec = mgr->gcm256_dec,
		.init = mgr->gcm256_init,
		.enc_update = mgr->gcm256_enc_update,
		.enc_finalize = mgr->gcm256_enc_finalize,
	};
}

static void *ipsec_mb_expand(void *old, const struct aead_key *k)
{
	struct ipsec_mb_key *x = old;
	void *room = NULL;

	if (x == NULL) {
		if (posix_memalign(&room, KEY_ALIGNMENT, sizeof(*x)) != 0)
			aead_die("memory for a key");
		x = room;
	}
	mem_wipe(x, sizeof(*x));
	x->with = k->algorithm == AEAD_AES_128_GCM ? &aes_128 : &aes_256;
	x->with->expand(k->key, &x->expanded);
	return x;
}

static void ipsec_mb_free(void *expanded)
{
	mem_wipe(expanded, sizeof(struct ipsec_mb_key));
	free(expanded);
}

/* The routines want no null pointer, not even for nothing. */
static const uint8_t *address(struct bytes b)
{
	static const uint8_t nothing[1];

	return b.len == 0 ? nothing : b.data;
}

static void ipsec_mb_seal(void *expanded, const struct aead_message *m)
{
	const struct ipsec_mb_key *x = expanded;
	uint8_t *tag = m->out + m->in.len + m->tail.len;
	struct gcm_context_data state;

	if (m->tail.len == 0) {
		x->with->enc(&x->expanded, &state, m->out, address(m->in), m->in.len, m->iv, address(m->aad),
			     m->aad.len, tag, AEAD_TAG_LEN);
		return;
	}
	x->with->init(&x->expanded, &state, m->iv, address(m->aad), m->aad.len);
	if (m->in.len > 0)
		x->with->enc_update(&x->expanded, &state, m->out, m->in.data, m->in.len);
	x->with->enc_update(&x->expanded, &state, m->out + m->in.len, m->tail.data, m->tail.len);
	x->with->enc_finalize(&x->expanded, &state, tag, AEAD_TAG_LEN);
}

static bool ipsec_mb_open(void *expanded, const struct aead_message *m)
{
	const struct ipsec_mb_key *x = expanded;
	size_t len = m->in.len - AEAD_TAG_LEN;
	struct gcm_context_data state;
	uint8_t tag[AEAD_TAG_LEN];
	uint8_t none;

	x->with->dec(&x->expanded, &state, len == 0 ? &none : m->out, m->in.data, len, m->iv, address(m->aad),
		     m->aad.len, tag, sizeof(tag));
	return CRYPTO_memcmp(tag, m->in.data + len, sizeof(tag)) == 0;
}

/* McGrew and Viega, test case 14: sixteen zeros under a zero key and nonce. */
static bool knows_its_answer(void)
{
	static const uint8_t expected[32] = { 0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5,
					      0xd3, 0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99,
					      0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19 };
	static const struct aead_key key = { .algorithm = AEAD_AES_256_GCM };
	static const uint8_t zeros[16];
	uint8_t sealed[sizeof(expected)];
	void *x = ipsec_mb_expand(NULL, &key);

	ipsec_mb_seal(x, &(struct aead_message){ .iv = zeros, .in = bytes_of(zeros, 16), .out = sealed });
	ipsec_mb_free(x);
	return memcmp(sealed, expected, sizeof(expected)) == 0;
}

static bool has_address(const struct dl_phdr_info *object, uintptr_t address)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &object->dlpi_phdr[i];

		if (h->p_type == PT_LOAD && address - object->dlpi_addr - h->p_vaddr < h->p_memsz)
			return true;
	}
	return false;
}

static int drop_constant_pages(struct dl_phdr_info *object, size_t size, void *routine)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	if (!has_address(object, (uintptr_t)routine))
		return 0;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &object->dlpi_phdr[i];
		uintptr_t from = (object->dlpi_addr + h->p_vaddr) & ~(page - 1);

		if (h->p_type == PT_LOAD && (h->p_flags & PF_W) == 0)
			(void)madvise((void *)from, object->dlpi_addr + h->p_vaddr + h->p_memsz - from, MADV_DONTNEED);
	}
	return 1;
}

/* The self-tests have run through 3 MiB of code that nobody needs again; what is needed comes back by itself. */
static void give_back_pages(void)
{
	dl_iterate_phdr(drop_constant_pages, (void *)(uintptr_t)aes_128.enc);
}

static int ipsec_mb_start(struct err *e)
{
	const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
	IMB_MGR *mgr = NULL;
	IMB_ARCH arch = IMB_ARCH_NONE;
	int rc = 0;

	if (arch_name != NULL)
		return 0;
	mgr = alloc_mb_mgr(0);
	if (mgr == NULL)
		return err_set(e, ERR_SYSTEM, "no memory for libipsec-mb");
	if ((mgr->features & needed) != needed) {
		rc = err_set(e, ERR_CONFIG, "this CPU has no AES-NI and PCLMULQDQ");
		goto out;
	}
	init_mb_mgr_auto(mgr, &arch);
	if (imb_get_errno(mgr) != 0 || arch == IMB_ARCH_NONE) {
		rc = err_set(e, ERR_SYSTEM, "libipsec-mb: %s", imb_get_strerror(imb_get_errno(mgr)));
		goto out;
	}
	take_routines(mgr);
	if (!knows_its_answer()) {
		rc = err_set(e, ERR_SYSTEM, "libipsec-mb fails its test vector");
		goto out;
	}
	arch_name = name_of(arch);
	give_back_pages();
out:
	free_mb_mgr(mgr);
	return rc;
}

static void ipsec_mb_describe(char *out, size_t size)
{
	unsigned v = imb_get_version();

	snprintf(out, size, "ipsec-mb %u.%u (%s)", v >> 16, v >> 8 & 0xff, arch_name);
}

const struct aead_ops aead_ipsec_mb = {
	.name = "ipsec-mb",
	.start = ipsec_mb_start,
	.describe = ipsec_mb_describe,
	.expand = ipsec_mb_expand,
	.free = ipsec_mb_free,
	.seal = ipsec_mb_seal,
	.open = ipsec_mb_open,
};
