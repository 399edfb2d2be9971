/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin - an attestation service in this process: it checks `sample` evidence and decides by policy.
 *
 * It stands for no hardware: whoever can write JSON can make sample evidence. It lets a pair of gateways
 * be tried without any agent or service, and only the policy trust_all accepts what it checks.
 * spec: attestation.md 7.3 and 7.4. Its counterpart is provider_builtin (provider.h).
 *
 * Threads: any; a pure function.
 */
#pragma once

#include "attest/evidence.h"
#include "config/config.h"
#include "metrics/reason.h"

/* Accepted: 0. Refused: -1 with the reason. The evidence is checked before the policy is asked. */
int builtin_verify(const struct coco_evidence *ev, enum builtin_policy policy, enum reason *reason,
		   struct err *e) MUST_CHECK;

/* "trust_all", "hardware_only". */
const char *builtin_policy_name(enum builtin_policy policy);
