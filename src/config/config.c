/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - the document as a whole.
 *
 * Text is parsed, old spellings are translated, the tables are read, the rules between entries are held
 * against it; what was found on the way is sorted by its place.
 */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/json.h"
#include "config/listen_claims.h"
#include "config/old_spellings.h"
#include "config/sections.h"
#include "config/string_list.h"

/* The two lists of the document, which are one in struct config. */
struct document {
	struct config config;
	struct entry_conf *ingresses;
	size_t ingress_count;
	struct entry_conf *egresses;
	size_t egress_count;
};

static const struct choice aead_names[] = { { .name = "auto" }, { .name = "evp" }, { .name = "ipsec-mb" }, { 0 } };
static const struct choice tls_records_names[] = {
	{ "own", TLS_RECORDS_OWN, false },
	{ "libssl", TLS_RECORDS_LIBSSL, false },
	{ 0 },
};

static bool has_captures(const struct entry_conf *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].netfilter != NULL || entries[i].transparency.out)
			return true;
	}
	return false;
}

/* Of no interest where the kernel captures nothing. conf is config.interception. */
static void write_interception(const void *conf, unsigned indent, struct buf *out)
{
	const struct document *d = (const void *)((const char *)conf - offsetof(struct document, config.interception));

	if (has_captures(d->ingresses, d->ingress_count) || has_captures(d->egresses, d->egress_count))
		section_write(&section_interception, conf, indent, out);
}

/* clang-format off */
static const struct field document_fields[] = {
	{ STORED_AS("add_ingress", FIELD_LIST, struct document, ingresses), .count_offset = offsetof(struct document, ingress_count), .section = &section_ingress },
	{ STORED_AS("add_egress", FIELD_LIST, struct document, egresses), .count_offset = offsetof(struct document, egress_count), .section = &section_egress },
	{ STORED_AS("workers", FIELD_INTEGER, struct document, config.workers), .min = 0, .max = 256, .fallback = 0 },
	{ STORED_AS("aead", FIELD_TEXT, struct document, config.aead), .choices = aead_names, .fallback_text = "auto" },
	{ STORED_AS("tls_records", FIELD_CHOICE, struct document, config.tls_records), .choices = tls_records_names, .fallback = TLS_RECORDS_OWN },
	{ STORED_AS("drain_timeout", FIELD_SECONDS, struct document, config.timeouts.drain_ms), .min = 0, .max = 86400000, .fallback = 5000 },
	{ FLAT("tcp_keepalive", &section_tcp_keepalive) },
	{ FLAT("tcp_congestion", &section_tcp_congestion) },
	{ STORED_AS("resolve_cache", FIELD_INTEGER, struct document, config.resolve_cache_s), .min = 0, .max = 86400, .fallback = 5 },
	{ STORED_AS("timeouts", FIELD_OBJECT, struct document, config.timeouts), .section = &section_timeouts },
	{ STORED_AS("limits", FIELD_OBJECT, struct document, config.limits), .section = &section_limits },
	{ CHECKED(FIELD_OBJECT, "control_interface"), .section = &section_control_interface, .later = true },
	{ CHECKED(FIELD_OBJECT, "metric"), .section = &section_metric },
	{ CHECKED(FIELD_OBJECT, "trace"), .section = &section_trace },
	{ STORED_AS("interception", FIELD_OBJECT, struct document, config.interception), .section = &section_interception, .write = write_interception },
	{ CHECKED(FIELD_OBJECT, "wccp"), .section = &section_wccp, .later = true },
	{ CHECKED(FIELD_OBJECT, "admin_bind"), .section = &section_admin_bind, .later = true },
};
/* clang-format on */

/* FLAT: a struct document begins with its struct config. */
_Static_assert(offsetof(struct document, config) == 0, "what is FLAT is read into struct config");

const struct section section_document = { SECTION_FIELDS(document_fields), .size = sizeof(struct document) };

/* "line 3, column 17: text" */
static void say_syntax_error(struct reading *r, const struct err *e)
{
	unsigned line = 1;
	unsigned column = 1;
	int at = 0;

	sscanf(e->text, "line %u, column %u: %n", &line, &column, &at);
	reading_error(r, line, column, e->text + at);
}

static void name_entries(struct entry_conf *entries, size_t count, enum entry_kind kind)
{
	for (size_t i = 0; i < count; i++) {
		entries[i].kind = kind;
		entries[i].index = (unsigned)i;
		entries[i].path = mem_format("%s[%zu]", kind == ENTRY_INGRESS ? "add_ingress" : "add_egress", i);
	}
}

static void join_entries(struct document *d)
{
	struct config *c = &d->config;

	c->entry_count = d->ingress_count + d->egress_count;
	c->entries = mem_new_array(c->entry_count, sizeof(*c->entries));
	if (d->ingress_count > 0)
		memcpy(c->entries, d->ingresses, d->ingress_count * sizeof(*c->entries));
	if (d->egress_count > 0)
		memcpy(c->entries + d->ingress_count, d->egresses, d->egress_count * sizeof(*c->entries));
	free(d->ingresses);
	free(d->egresses);
	d->ingresses = NULL;
	d->egresses = NULL;
	name_entries(c->entries, d->ingress_count, ENTRY_INGRESS);
	name_entries(c->entries + d->ingress_count, d->egress_count, ENTRY_EGRESS);
}

/* The reverse of join_entries(): borrowed slices, for the tables. */
static struct document document_of(const struct config *c)
{
	struct document d = { .config = *c, .ingresses = c->entries };

	while (d.ingress_count < c->entry_count && c->entries[d.ingress_count].kind == ENTRY_INGRESS)
		d.ingress_count++;
	d.egresses = c->entries + d.ingress_count;
	d.egress_count = c->entry_count - d.ingress_count;
	return d;
}

static void check_has_entries(struct reading *r, const struct place *at)
{
	if (at->json->type == JSON_OBJECT && !place_has_items(at, "add_ingress") && !place_has_items(at, "add_egress"))
		place_error(r, at, "neither add_ingress nor add_egress has an entry: there is nothing to do");
}

static void read_document(struct reading *r, const struct json *j, struct document *d)
{
	struct place root = { .json = j };

	if (j->type != JSON_OBJECT) {
		place_error(r, &root, "expected an object");
		return;
	}
	section_read(r, &section_document, &root, d);
	check_has_entries(r, &root);
	if (r->error_count == 0)
		check_captures(r, &root,
			       &(struct captures){ .interception = &d->config.interception,
						   .entries = { d->ingresses, d->egresses },
						   .counts = { d->ingress_count, d->egress_count } });
	check_listen_claims(r);
}

/* Modules see their own struct only. */
static void tell_answer_max(struct config *c)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		struct entry_conf *entry = &c->entries[i];

		if (entry->attest != NULL)
			entry->attest->as.answer_max = c->limits.token_size;
		if (entry->verify != NULL)
			entry->verify->as.answer_max = c->limits.token_size;
	}
}

struct config *config_load(struct bytes text, const char *source, struct config_report *report)
{
	struct reading r = { .source = source };
	struct document document = { 0 };
	struct config *c = NULL;
	struct json *j;
	struct err e;

	*report = (struct config_report){ 0 };
	j = json_parse(text, JSON_WITH_COMMENTS, &e);
	if (j == NULL) {
		say_syntax_error(&r, &e);
	} else {
		old_spellings_translate(&r, j);
		read_document(&r, j, &document);
	}
	if (r.error_count == 0) {
		join_entries(&document);
		tell_answer_max(&document.config);
		c = mem_dup(&document.config, sizeof(document.config));
		c->files = r.files;
		c->file_count = r.file_count;
		r.files = NULL;
		r.file_count = 0;
	} else {
		section_release(&section_document, &document);
	}
	reading_report(&r, report);
	reading_release(&r);
	json_free(j);
	return c;
}

void config_free(struct config *c)
{
	struct document d;

	if (c == NULL)
		return;
	for (size_t i = 0; i < c->entry_count; i++) {
		free(c->entries[i].path);
		section_release(c->entries[i].kind == ENTRY_INGRESS ? &section_ingress : &section_egress,
				&c->entries[i]);
	}
	for (size_t i = 0; i < c->file_count; i++) {
		free(c->files[i].path);
		free(c->files[i].place);
	}
	d = (struct document){ .config = *c };
	section_release(&section_document, &d);
	free(c->entries);
	free(c->files);
	free(c);
}

void config_report_release(struct config_report *report)
{
	string_list_release(&report->errors);
	string_list_release(&report->warnings);
}

void config_format(const struct config *c, struct buf *out)
{
	struct document d = document_of(c);

	section_write(&section_document, &d, 0, out);
	buf_append_str(out, "\n");
}

/* Not a device or a FIFO: opening one could wait, and a directory has nothing to read. */
static int check_readable(const char *path, struct err *e)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc = 0;

	if (fd < 0)
		return err_errno(e, ERR_CONFIG, "cannot read \"%s\"", path);
	if (fstat(fd, &st) != 0)
		rc = err_errno(e, ERR_CONFIG, "cannot read \"%s\"", path);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, ERR_CONFIG, "\"%s\" is not a file", path);
	else if (st.st_size == 0)
		rc = err_set(e, ERR_CONFIG, "\"%s\" is empty", path);
	close(fd);
	return rc;
}

bool config_check_files(const struct config *c, struct config_report *report)
{
	struct err e;
	bool good = true;

	for (size_t i = 0; i < c->file_count; i++) {
		if (check_readable(c->files[i].path, &e) == 0)
			continue;
		good = false;
		string_list_add(&report->errors, mem_format("%s: %s", c->files[i].place, e.text));
	}
	return good;
}
