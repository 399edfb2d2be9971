/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/sample.h"

#include "../vectors.h"

/* attestation.md 1.6: the complete example. */
#define WORKED                                                                                                         \
	"{\"cc_eventlog\":null,\"measure_register\":\"00000000000000000000000000000000000000000000000000000"           \
	"00000000000\",\"report_data\":"                                                                               \
	"\"P2nkspuzxoWBSSBIU8rpKM2Bc41rmMQvTBCx2VUCx8ytVkqC3FAl6WNSNFHYdM2K\","                                        \
	"\"svn\":\"1\"}"
#define DIGEST "3f69e4b29bb3c6858149204853cae928cd81738d6b98c42f4c10b1d95502c7ccad564a82dc5025e963523451d874cd8a"

static void evidence_is_that_of_the_specification(void **state)
{
	struct dealt none = { .fault = FAULT_NONE };
	struct buf digest = { 0 };
	struct buf out = { 0 };

	(void)state;
	hex_to_buf(DIGEST, &digest);
	sample_evidence(buf_bytes(&digest), &none, &out);
	assert_string_equal(buf_str(&out), WORKED);
	assert_int_equal(out.len, 197);
	buf_release(&digest);
	buf_release(&out);
}

static void faults_change_one_member_each(void **state)
{
	struct dealt none = { .fault = FAULT_NONE };
	struct dealt measurement = { .fault = FAULT_WRONG_MEASUREMENT };
	struct dealt key = { .fault = FAULT_WRONG_KEY };
	struct buf good = { 0 };
	struct buf other = { 0 };

	(void)state;
	sample_evidence(bytes_str("abc"), &none, &good);
	assert_non_null(strstr(buf_str(&good), "\"report_data\":\"YWJj\""));

	sample_evidence(bytes_str("abc"), &measurement, &other);
	assert_null(strstr(buf_str(&other), SAMPLE_MEASUREMENT));
	assert_non_null(strstr(buf_str(&other), "\"report_data\":\"YWJj\""));
	assert_int_equal(other.len, good.len);

	buf_clear(&other);
	sample_evidence(bytes_str("abc"), &key, &other);
	assert_non_null(strstr(buf_str(&other), SAMPLE_MEASUREMENT));
	assert_null(strstr(buf_str(&other), "YWJj"));

	/* runtime data that are empty are wrong, too */
	buf_clear(&other);
	sample_evidence(bytes_of("", 0), &key, &other);
	assert_null(strstr(buf_str(&other), "\"report_data\":\"\""));
	buf_release(&good);
	buf_release(&other);
}

static void evidence_is_padded_to_order(void **state)
{
	struct dealt none = { .fault = FAULT_NONE };
	struct dealt padded = { .modes = 1u << MODE_EVIDENCE_SIZE, .evidence_size = 1000 };
	struct buf good = { 0 };
	struct buf out = { 0 };

	(void)state;
	sample_evidence(bytes_str("abc"), &none, &good);
	sample_evidence(bytes_str("abc"), &padded, &out);
	assert_int_equal(out.len, good.len + strlen("\"pad\":\"\",") + 1000);
	buf_release(&good);
	buf_release(&out);
}

static void a_device_answers_for_the_runtime_data_it_gets(void **state)
{
	struct buf out = { 0 };

	(void)state;
	sample_device_evidence(bytes_of("", 0), &out);
	assert_string_equal(buf_str(&out), "{\"sampledevice\":{\"report_data\":\"\",\"svn\":\"2\"}}");
	buf_clear(&out);
	sample_device_evidence(bytes_str("abc"), &out);
	assert_string_equal(buf_str(&out), "{\"sampledevice\":{\"report_data\":\"YWJj\",\"svn\":\"2\"}}");
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evidence_is_that_of_the_specification),
		cmocka_unit_test(faults_change_one_member_each),
		cmocka_unit_test(evidence_is_padded_to_order),
		cmocka_unit_test(a_device_answers_for_the_runtime_data_it_gets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
