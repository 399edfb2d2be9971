/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - text to values.
 *
 * One pass by recursive descent. Depth and number of values are bounded, so that neither the stack nor
 * the heap grows out of proportion to the text. The parser stops at the first error.
 */
#include "codec/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct parser {
	struct bytes text;
	size_t at;
	unsigned line;
	size_t line_start; /* offset of the first byte of the line */
	enum json_dialect dialect;
	unsigned depth;
	size_t values;
	struct err *e;
};

static int parse_value(struct parser *p, struct json **value);

static unsigned column(const struct parser *p)
{
	return (unsigned)(p->at - p->line_start + 1);
}

static int fail_at(struct parser *p, unsigned line, unsigned col, const char *text)
{
	return err_set(p->e, ERR_PEER, "line %u, column %u: %s", line, col, text);
}

static int fail(struct parser *p, const char *text)
{
	return fail_at(p, p->line, column(p), text);
}

/* The next byte, or -1 at the end. */
static int peek(const struct parser *p)
{
	return p->at < p->text.len ? p->text.data[p->at] : -1;
}

static int fail_expected(struct parser *p, const char *what)
{
	int c = peek(p);
	char found[32];

	if (c < 0)
		strcpy(found, "the end of the text");
	else if (c > 0x20 && c < 0x7f)
		snprintf(found, sizeof(found), "'%c'", c);
	else
		snprintf(found, sizeof(found), "byte 0x%02x", (unsigned)c);
	return err_set(p->e, ERR_PEER, "line %u, column %u: expected %s, found %s", p->line, column(p), what, found);
}

/* At the second of two slashes, or before anything else that ends up at the end of the line. */
static int skip_comment(struct parser *p)
{
	while (p->at < p->text.len && p->text.data[p->at] != '\n') {
		uint32_t c;
		size_t len = utf8_next(bytes_of(p->text.data + p->at, p->text.len - p->at), &c);

		if (len == 0)
			return fail(p, "invalid UTF-8");
		p->at += len;
	}
	return 0;
}

static bool at_comment(const struct parser *p)
{
	return p->dialect == JSON_WITH_COMMENTS && p->text.len - p->at >= 2 && p->text.data[p->at] == '/' &&
	       p->text.data[p->at + 1] == '/';
}

static int skip_space(struct parser *p)
{
	for (;;) {
		switch (peek(p)) {
		case '\n':
			p->at++;
			p->line++;
			p->line_start = p->at;
			continue;
		case ' ':
		case '\t':
		case '\r':
			p->at++;
			continue;
		}
		if (!at_comment(p))
			return 0;
		if (skip_comment(p) != 0)
			return -1;
	}
}

static int parse_hex4(struct parser *p, uint32_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < 4; i++) {
		int c = peek(p);
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			digit = (uint32_t)(c - 'A' + 10);
		else
			return fail_expected(p, "four hexadecimal digits behind \\u");
		*value = *value << 4 | digit;
		p->at++;
	}
	return 0;
}

/* Behind "\u". */
static int parse_unicode_escape(struct parser *p, struct buf *out)
{
	uint32_t c;
	uint32_t low;

	if (parse_hex4(p, &c) != 0)
		return -1;
	if (c >= 0xdc00 && c <= 0xdfff)
		return fail(p, "a low surrogate without a high one before it");
	if (c >= 0xd800 && c <= 0xdbff) {
		if (p->text.len - p->at < 2 || memcmp(p->text.data + p->at, "\\u", 2) != 0)
			return fail(p, "a high surrogate without a low one behind it");
		p->at += 2;
		if (parse_hex4(p, &low) != 0)
			return -1;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(p, "a high surrogate without a low one behind it");
		c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
	}
	utf8_append(out, c);
	return 0;
}

/* Behind the backslash. */
static int parse_escape(struct parser *p, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	int c = peek(p);
	const char *letter = c > 0 ? strchr(from, c) : NULL;

	if (letter != NULL) {
		p->at++;
		buf_append(out, &to[letter - from], 1);
		return 0;
	}
	if (c != 'u')
		return fail_expected(p, "one of \"\\/bfnrtu behind a backslash");
	p->at++;
	return parse_unicode_escape(p, out);
}

/* At the opening quote. gives *text and *len; on failure nothing. */
static int parse_text(struct parser *p, char **text, size_t *len)
{
	struct buf out = { 0 };
	uint32_t c;

	p->at++;
	for (;;) {
		size_t size = utf8_next(bytes_of(p->text.data + p->at, p->text.len - p->at), &c);

		if (p->at == p->text.len) {
			fail(p, "a string without its closing quote");
			break;
		}
		if (size == 0) {
			fail(p, "invalid UTF-8");
			break;
		}
		if (c < 0x20) {
			fail(p, "a control character inside a string must be written as \\u00XX");
			break;
		}
		if (c == '"') {
			p->at++;
			*len = out.len;
			*text = buf_take_str(&out);
			return 0;
		}
		if (c == '\\') {
			p->at++;
			if (parse_escape(p, &out) != 0)
				break;
			continue;
		}
		buf_append(&out, p->text.data + p->at, size);
		p->at += size;
	}
	buf_release(&out);
	return -1;
}

static size_t skip_digits(struct parser *p)
{
	size_t start = p->at;

	while (peek(p) >= '0' && peek(p) <= '9')
		p->at++;
	return p->at - start;
}

static int parse_number(struct parser *p, struct json *j)
{
	size_t start = p->at;

	if (peek(p) == '-')
		p->at++;
	if (peek(p) == '0') {
		p->at++;
		if (peek(p) >= '0' && peek(p) <= '9')
			return fail(p, "a number may not begin with 0");
	} else if (skip_digits(p) == 0) {
		return fail_expected(p, "a digit");
	}
	if (peek(p) == '.') {
		p->at++;
		if (skip_digits(p) == 0)
			return fail_expected(p, "a digit behind the decimal point");
	}
	if (peek(p) == 'e' || peek(p) == 'E') {
		p->at++;
		if (peek(p) == '+' || peek(p) == '-')
			p->at++;
		if (skip_digits(p) == 0)
			return fail_expected(p, "a digit in the exponent");
	}
	j->type = JSON_NUMBER;
	j->text_len = p->at - start;
	j->text = mem_strndup((const char *)p->text.data + start, j->text_len);
	return 0;
}

static int parse_word(struct parser *p, const char *word)
{
	size_t len = strlen(word);

	if (p->text.len - p->at < len || memcmp(p->text.data + p->at, word, len) != 0)
		return fail_expected(p, "a value");
	p->at += len;
	return 0;
}

/* Doubles, so that a long list costs linear time. */
static void *grow(void *list, size_t count, size_t size)
{
	return (count & (count - 1)) == 0 ? mem_resize(list, MAX(count * 2, (size_t)1) * size) : list;
}

static int parse_item(struct parser *p, struct json *j)
{
	struct json *item = NULL;

	if (parse_value(p, &item) != 0)
		return -1;
	j->items = grow(j->items, j->count, sizeof(*j->items));
	j->items[j->count] = item;
	j->count++;
	return 0;
}

static int parse_member(struct parser *p, struct json *j)
{
	struct json_key key = { .line = p->line, .column = column(p) };

	if (peek(p) != '"')
		return fail_expected(p, "a name in quotes");
	if (parse_text(p, &key.name, &key.len) != 0)
		return -1;
	if (skip_space(p) != 0)
		goto free_name;
	if (peek(p) != ':') {
		fail_expected(p, "':'");
		goto free_name;
	}
	p->at++;
	j->keys = grow(j->keys, j->count, sizeof(*j->keys));
	if (skip_space(p) != 0 || parse_item(p, j) != 0)
		goto free_name;
	j->keys[j->count - 1] = key;
	return 0;
free_name:
	free(key.name);
	return -1;
}

static int compare_names(const void *a, const void *b)
{
	const struct json_key *x = *(const struct json_key *const *)a;
	const struct json_key *y = *(const struct json_key *const *)b;
	int order;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	order = memcmp(x->name, y->name, x->len);
	if (order != 0)
		return order;
	return x < y ? -1 : 1; /* equal names in the order of the document */
}

/* By sorting: an object of many members costs n log n. The earliest second occurrence is reported. */
static int check_duplicates(struct parser *p, const struct json *j)
{
	const struct json_key **sorted = mem_new_array(j->count, sizeof(struct json_key *));
	const struct json_key *second = NULL;

	for (size_t i = 0; i < j->count; i++)
		sorted[i] = &j->keys[i];
	qsort(sorted, j->count, sizeof(struct json_key *), compare_names);
	for (size_t i = 1; i < j->count; i++) {
		bool same = sorted[i]->len == sorted[i - 1]->len &&
			    memcmp(sorted[i]->name, sorted[i - 1]->name, sorted[i]->len) == 0;

		if (same && (second == NULL || sorted[i] < second))
			second = sorted[i];
	}
	free(sorted);
	if (second == NULL)
		return 0;
	return err_set(p->e, ERR_PEER, "line %u, column %u: \"%.100s\" stands in this object twice", second->line,
		       second->column, second->name);
}

/* At the opening bracket. */
static int parse_container(struct parser *p, struct json *j)
{
	bool object = peek(p) == '{';
	int end = object ? '}' : ']';

	if (p->depth == JSON_MAX_DEPTH)
		return fail(p, "nested too deeply");
	p->depth++;
	p->at++;
	j->type = object ? JSON_OBJECT : JSON_ARRAY;
	if (skip_space(p) != 0)
		return -1;
	while (peek(p) != end || j->count > 0) {
		if ((object ? parse_member(p, j) : parse_item(p, j)) != 0 || skip_space(p) != 0)
			return -1;
		if (peek(p) == end)
			break;
		if (peek(p) != ',')
			return fail_expected(p, object ? "',' or '}'" : "',' or ']'");
		p->at++;
		if (skip_space(p) != 0)
			return -1;
		if (peek(p) == end)
			return fail(p, object ? "a comma before '}'" : "a comma before ']'");
	}
	p->at++;
	p->depth--;
	return object ? check_duplicates(p, j) : 0;
}

static int parse_into(struct parser *p, struct json *j)
{
	switch (peek(p)) {
	case '{':
	case '[':
		return parse_container(p, j);
	case '"':
		j->type = JSON_STRING;
		return parse_text(p, &j->text, &j->text_len);
	case 't':
		j->type = JSON_BOOL;
		j->boolean = true;
		return parse_word(p, "true");
	case 'f':
		j->type = JSON_BOOL;
		return parse_word(p, "false");
	case 'n':
		return parse_word(p, "null");
	case '-':
	case '0' ... '9':
		return parse_number(p, j);
	}
	return fail_expected(p, "a value");
}

static int parse_value(struct parser *p, struct json **value)
{
	struct json *j;

	if (p->values == JSON_MAX_VALUES)
		return fail(p, "too many values");
	p->values++;
	j = mem_new_of(struct json);
	j->line = p->line;
	j->column = column(p);
	if (parse_into(p, j) != 0) {
		json_free(j);
		return -1;
	}
	*value = j;
	return 0;
}

struct json *json_parse(struct bytes text, enum json_dialect dialect, struct err *e)
{
	struct parser p = { .text = text, .line = 1, .dialect = dialect, .e = e };
	struct json *j = NULL;

	if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
		fail(&p, "a byte order mark, which JSON does not have");
		return NULL;
	}
	if (skip_space(&p) != 0 || parse_value(&p, &j) != 0)
		return NULL;
	if (skip_space(&p) != 0)
		goto failed;
	if (p.at < text.len) {
		fail_expected(&p, "the end of the text");
		goto failed;
	}
	return j;
failed:
	json_free(j);
	return NULL;
}

void json_free(struct json *j)
{
	if (j == NULL)
		return;
	for (size_t i = 0; i < j->count; i++) {
		json_free(j->items[i]);
		if (j->keys != NULL)
			free(j->keys[i].name);
	}
	free(j->items);
	free(j->keys);
	free(j->text);
	free(j);
}

static const struct json *member_of_len(const struct json *j, const char *name, size_t len)
{
	if (j == NULL || j->type != JSON_OBJECT)
		return NULL;
	for (size_t i = 0; i < j->count; i++) {
		if (j->keys[i].len == len && memcmp(j->keys[i].name, name, len) == 0)
			return j->items[i];
	}
	return NULL;
}

const struct json *json_member(const struct json *j, const char *name)
{
	return member_of_len(j, name, strlen(name));
}

const struct json *json_at(const struct json *j, const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");

		j = member_of_len(j, path, len);
		if (path[len] == '\0')
			return j;
		path += len + 1;
	}
}

const char *json_string(const struct json *j)
{
	if (j == NULL || j->type != JSON_STRING || strlen(j->text) != j->text_len)
		return NULL;
	return j->text;
}

bool json_integer(const struct json *j, int64_t min, int64_t max, int64_t *value)
{
	long long v;

	if (j == NULL || j->type != JSON_NUMBER || strpbrk(j->text, ".eE") != NULL)
		return false;
	errno = 0;
	v = strtoll(j->text, NULL, 10);
	if (errno != 0 || v < min || v > max)
		return false;
	*value = v;
	return true;
}

bool json_number(const struct json *j, double *value)
{
	if (j == NULL || j->type != JSON_NUMBER)
		return false;
	*value = strtod(j->text, NULL);
	return true;
}
