/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample - evidence of the TEE that is none. spec: attestation.md 1.6.
 *
 * Threads: any; pure functions.
 */
#pragma once

#include "base/bytes.h"
#include "lab/fault.h"

#define SAMPLE_TEE "sample"

/* measure_register of a machine on which nothing was measured. */
#define SAMPLE_MEASUREMENT "0000000000000000000000000000000000000000000000000000000000000000"

/* Appends the four-member form over these runtime data, with the faults and the padding of d. */
void sample_evidence(struct bytes runtime_data, const struct dealt *d, struct buf *out);

/* Appends additional evidence, {"sampledevice":...}. */
void sample_device_evidence(struct bytes runtime_data, struct buf *out);
