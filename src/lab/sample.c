/* SPDX-License-Identifier: Apache-2.0 */
/* sample - evidence of the sample TEE and of its device. */
#include "lab/sample.h"

#include "codec/base64.h"

/* What "wrong_measurement" shows. */
#define OTHER_MEASUREMENT "baadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaadbaad"

static void append_report_data(struct bytes runtime_data, bool wrong, struct buf *out)
{
	struct buf shown = { 0 };

	buf_append_bytes(&shown, runtime_data);
	if (wrong && shown.len == 0)
		buf_append(&shown, "x", 1);
	else if (wrong)
		shown.data[0] ^= 0xff;
	buf_append_str(out, "\"report_data\":\"");
	base64_encode(buf_bytes(&shown), out);
	buf_append_str(out, "\"");
	buf_release(&shown);
}

void sample_evidence(struct bytes runtime_data, const struct dealt *d, struct buf *out)
{
	bool wrong = d->fault == FAULT_WRONG_MEASUREMENT;

	buf_format(out, "{\"cc_eventlog\":null,\"measure_register\":\"%s\",",
		   wrong ? OTHER_MEASUREMENT : SAMPLE_MEASUREMENT);
	if (dealt_mode(d, MODE_EVIDENCE_SIZE)) {
		buf_append_str(out, "\"pad\":\"");
		memset(buf_reserve(out, (size_t)d->evidence_size), 'x', (size_t)d->evidence_size);
		out->len += (size_t)d->evidence_size;
		buf_append_str(out, "\",");
	}
	append_report_data(runtime_data, d->fault == FAULT_WRONG_KEY, out);
	buf_append_str(out, ",\"svn\":\"1\"}");
}

void sample_device_evidence(struct bytes runtime_data, struct buf *out)
{
	buf_append_str(out, "{\"sampledevice\":{");
	append_report_data(runtime_data, false, out);
	buf_append_str(out, ",\"svn\":\"2\"}}");
}
