/* SPDX-License-Identifier: Apache-2.0 */
/* provider - which of them a configuration asks for. */
#include "attest/provider.h"

#include <stdlib.h>

void provider_evidence_release(struct provider_evidence *ev)
{
	free(ev->tee);
	buf_release(&ev->evidence);
	buf_release(&ev->additional);
	*ev = (struct provider_evidence){ 0 };
}

const struct provider_ops *provider_of(const struct attest_conf *conf)
{
	if (conf->provider == AA_COCO_ASR)
		return &provider_asr;
	return conf->aa_type == AA_BUILTIN ? &provider_builtin : &provider_aa;
}
