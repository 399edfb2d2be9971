/* SPDX-License-Identifier: Apache-2.0 */
/* trust - which anchors, and those in files. */
#include "attest/trust.h"

#include <fcntl.h>
#include <unistd.h>

#define ANCHOR_FILE_MAX (1024 * 1024)

static int load_file(const char *path, struct cert_list *list, struct err *e)
{
	struct buf text = { 0 };
	ssize_t len;
	int rc = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		err_errno(e, ERR_CONFIG, "open %s", path);
		goto out;
	}
	do {
		len = read(fd, buf_reserve(&text, 4096), 4096);
		text.len += len > 0 ? (size_t)len : 0;
	} while (len > 0 && text.len <= ANCHOR_FILE_MAX);
	if (len < 0) {
		err_errno(e, ERR_CONFIG, "read %s", path);
		goto out;
	}
	if (text.len > ANCHOR_FILE_MAX) {
		err_set(e, ERR_CONFIG, "%s has more than %d bytes", path, ANCHOR_FILE_MAX);
		goto out;
	}
	rc = cert_list_add_pem(list, buf_bytes(&text), e);
	if (rc < 0) {
		e->kind = ERR_CONFIG;
		err_wrap(e, "%s", path);
	}
out:
	if (fd >= 0)
		close(fd);
	buf_release(&text);
	return rc;
}

int trust_load_files(const struct string_list *paths, struct cert_list *list, struct err *e)
{
	for (size_t i = 0; i < paths->count; i++) {
		if (load_file(paths->items[i], list, e) < 0)
			return err_wrap(e, "trusted_certs_paths");
	}
	return 0;
}

static int check_conf(const struct verify_conf *conf, struct err *e)
{
	bool builtin = conf->as.type == AS_BUILTIN;

	if (conf->verify_signer_transparency)
		return err_set(e, ERR_CONFIG, "not supported yet: verify_signer_transparency");
	if (conf->model == MODEL_PASSPORT && builtin)
		return err_set(e, ERR_CONFIG, "as_type builtin does not verify passports");
	if (!builtin && conf->as.policy_ids.count == 0)
		return err_set(e, ERR_CONFIG, "policy_ids is empty: any token would be accepted");
	if (conf->model == MODEL_BACKGROUND_CHECK && !builtin && conf->as.addr == NULL)
		return err_set(e, ERR_CONFIG, "as_addr is missing");
	return 0;
}

int trust_source_of(const struct verify_conf *conf, enum trust_source *source, struct err *e)
{
	if (check_conf(conf, e) < 0)
		return -1;
	*source = TRUST_EMBEDDED;
	if (conf->as.type == AS_BUILTIN || conf->skip_as_token_cert_verify)
		return 0;
	*source = TRUST_FILES;
	if (conf->trusted_certs_paths.count > 0)
		return 0;
	*source = TRUST_SERVICE;
	if (conf->as.addr != NULL && conf->as.type == AS_RESTFUL)
		return 0;
	/* A gRPC service has no /certificate. A token that came over our own connection speaks for itself. */
	*source = TRUST_EMBEDDED;
	if (conf->model == MODEL_BACKGROUND_CHECK)
		return 0;
	return err_set(e, ERR_CONFIG, "nothing endorses the signer of tokens: set trusted_certs_paths");
}
