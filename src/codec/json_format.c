/* SPDX-License-Identifier: Apache-2.0 */
/* json_format - values to text: as they are, canonically (RFC 8785), and compared. */
#include "codec/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* What a double needs at most to be told from its neighbours. */
#define DOUBLE_DIGITS 17

void json_append_string(struct buf *out, struct bytes text)
{
	utf8_append_json_string(out, text);
}

static struct bytes name_of(const struct json_key *key)
{
	return bytes_of(key->name, key->len);
}

/* UTF-16 code units order like code points, except that those over U+FFFF begin with 0xd800 to 0xdbff. */
static uint32_t utf16_rank(uint32_t c)
{
	return c < 0x10000 && c >= 0xe000 ? c + 0x110000 : c;
}

static int compare_utf16(struct bytes a, struct bytes b)
{
	for (;;) {
		uint32_t x;
		uint32_t y;
		size_t x_len = utf8_next(a, &x);
		size_t y_len = utf8_next(b, &y);

		if (x_len == 0 || y_len == 0)
			return (x_len != 0) - (y_len != 0);
		if (x != y)
			return utf16_rank(x) < utf16_rank(y) ? -1 : 1;
		a = bytes_of(a.data + x_len, a.len - x_len);
		b = bytes_of(b.data + y_len, b.len - y_len);
	}
}

struct member {
	const struct json_key *key;
	const struct json *value;
};

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a;
	const struct member *y = b;

	return compare_utf16(name_of(x->key), name_of(y->key));
}

/* gives an array of j->count; free() it. */
static struct member *sorted_members(const struct json *j)
{
	struct member *members = mem_new_array(j->count, sizeof(*members));

	for (size_t i = 0; i < j->count; i++)
		members[i] = (struct member){ &j->keys[i], j->items[i] };
	qsort(members, j->count, sizeof(*members), compare_members);
	return members;
}

/* A decimal with one digit before the point: digits[0].digits[1]... * 10^exponent. */
struct decimal {
	char digits[DOUBLE_DIGITS + 1];
	int exponent;
};

static double decimal_value(const struct decimal *d)
{
	char text[DOUBLE_DIGITS + 16];

	snprintf(text, sizeof(text), "%c.%se%d", d->digits[0], d->digits + 1, d->exponent);
	return strtod(text, NULL);
}

/* The neighbour one unit in the last place away from zero; 9.99 becomes 1.00 * 10. */
static void decimal_step_up(struct decimal *d)
{
	size_t i = strlen(d->digits);

	while (i > 0 && d->digits[i - 1] == '9') {
		i--;
		d->digits[i] = '0';
	}
	if (i > 0) {
		d->digits[i - 1]++;
	} else {
		d->digits[0] = '1';
		d->exponent++;
	}
}

/*
 * The fewest digits that read back as v, which is finite and above zero. At a power of two the numbers
 * above are twice as far apart as those below: there the nearest decimal of a length may read back
 * wrong while the one above it does not.
 */
static struct decimal shortest_decimal(double v)
{
	struct decimal d = { .exponent = 0 };

	for (int count = 1; count <= DOUBLE_DIGITS; count++) {
		struct decimal above;
		char text[DOUBLE_DIGITS + 16];

		snprintf(text, sizeof(text), "%.*e", count - 1, v);
		d.exponent = atoi(strchr(text, 'e') + 1);
		d.digits[0] = text[0];
		memcpy(d.digits + 1, text + 2, (size_t)count - 1);
		d.digits[count] = '\0';
		if (decimal_value(&d) == v)
			break;
		above = d;
		decimal_step_up(&above);
		if (decimal_value(&above) == v)
			return above;
	}
	return d;
}

/* ECMAScript's Number::toString, which RFC 8785 section 3.2.2.3 asks for. */
static void append_double(struct buf *out, double v)
{
	struct decimal d;
	int digits;
	int point; /* how many digits stand before the decimal point */

	if (v == 0) {
		buf_append_str(out, "0");
		return;
	}
	if (v < 0)
		buf_append_str(out, "-");
	d = shortest_decimal(fabs(v));
	digits = (int)strlen(d.digits);
	point = d.exponent + 1;
	if (digits <= point && point <= 21)
		buf_format(out, "%s%.*s", d.digits, point - digits, "00000000000000000000");
	else if (0 < point && point <= 21)
		buf_format(out, "%.*s.%s", point, d.digits, d.digits + point);
	else if (-6 < point && point <= 0)
		buf_format(out, "0.%.*s%s", -point, "000000", d.digits);
	else
		buf_format(out, "%c%s%se%+d", d.digits[0], digits > 1 ? "." : "", d.digits + 1, point - 1);
}

/* A number beyond the doubles has no canonical form; it stays as written. */
static void append_number(struct buf *out, const struct json *j)
{
	double v = strtod(j->text, NULL);

	if (isfinite(v))
		append_double(out, v);
	else
		buf_append_str(out, j->text);
}

static void append_scalar(const struct json *j, struct buf *out)
{
	switch (j->type) {
	case JSON_NULL:
		buf_append_str(out, "null");
		break;
	case JSON_BOOL:
		buf_append_str(out, j->boolean ? "true" : "false");
		break;
	case JSON_STRING:
		json_append_string(out, bytes_of(j->text, j->text_len));
		break;
	case JSON_NUMBER:
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
}

static void append_name(struct buf *out, const struct json_key *key)
{
	json_append_string(out, name_of(key));
	buf_append_str(out, ":");
}

void json_format(const struct json *j, struct buf *out)
{
	bool object = j->type == JSON_OBJECT;

	if (j->type == JSON_NUMBER) {
		buf_append_str(out, j->text);
		return;
	}
	if (j->type != JSON_ARRAY && !object) {
		append_scalar(j, out);
		return;
	}
	buf_append_str(out, object ? "{" : "[");
	for (size_t i = 0; i < j->count; i++) {
		if (i > 0)
			buf_append_str(out, ",");
		if (object)
			append_name(out, &j->keys[i]);
		json_format(j->items[i], out);
	}
	buf_append_str(out, object ? "}" : "]");
}

static void append_sorted(const struct json *j, struct buf *out)
{
	struct member *members = sorted_members(j);

	buf_append_str(out, "{");
	for (size_t i = 0; i < j->count; i++) {
		if (i > 0)
			buf_append_str(out, ",");
		append_name(out, members[i].key);
		json_format_canonical(members[i].value, out);
	}
	buf_append_str(out, "}");
	free(members);
}

void json_format_canonical(const struct json *j, struct buf *out)
{
	switch (j->type) {
	case JSON_NUMBER:
		append_number(out, j);
		break;
	case JSON_OBJECT:
		append_sorted(j, out);
		break;
	case JSON_ARRAY:
		buf_append_str(out, "[");
		for (size_t i = 0; i < j->count; i++) {
			if (i > 0)
				buf_append_str(out, ",");
			json_format_canonical(j->items[i], out);
		}
		buf_append_str(out, "]");
		break;
	case JSON_NULL:
	case JSON_BOOL:
	case JSON_STRING:
		append_scalar(j, out);
		break;
	}
}

/* A number without its notation: 0.digits * 10^exponent, digits neither beginning nor ending with 0. */
struct exact {
	bool negative;
	char *digits;
	long long exponent;
};

/*
 * Exponents are held to a range that no text can fill with digits, so that the sum stays a long long;
 * beyond it numbers are equal when their digits are.
 */
static struct exact exact_of(const char *text)
{
	static const long long limit = 1000000000000000000;
	struct exact x = { .negative = *text == '-' };
	size_t len = strcspn(text, "eE");
	size_t count = 0;
	size_t first = 0;
	bool fraction = false;

	if (text[len] != '\0')
		x.exponent = MAX(MIN(strtoll(text + len + 1, NULL, 10), limit), -limit);
	x.digits = mem_new(len + 1);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '.') {
			fraction = true;
		} else if (text[i] != '-') {
			x.digits[count++] = text[i];
			x.exponent += fraction ? 0 : 1;
		}
	}
	while (first < count && x.digits[first] == '0')
		first++;
	while (count > first && x.digits[count - 1] == '0')
		count--;
	x.exponent -= (long long)first;
	memmove(x.digits, x.digits + first, count - first);
	x.digits[count - first] = '\0';
	if (count == first) { /* zero */
		x.exponent = 0;
		x.negative = false;
	}
	return x;
}

static bool equal_numbers(const char *a, const char *b)
{
	struct exact x = exact_of(a);
	struct exact y = exact_of(b);
	bool equal = x.negative == y.negative && x.exponent == y.exponent && strcmp(x.digits, y.digits) == 0;

	free(x.digits);
	free(y.digits);
	return equal;
}

static bool equal_arrays(const struct json *a, const struct json *b)
{
	for (size_t i = 0; i < a->count; i++) {
		if (!json_equal(a->items[i], b->items[i]))
			return false;
	}
	return true;
}

/* Names are unique within each, so that equal objects sort alike. */
static bool equal_objects(const struct json *a, const struct json *b)
{
	struct member *x = sorted_members(a);
	struct member *y = sorted_members(b);
	bool equal = true;

	for (size_t i = 0; equal && i < a->count; i++)
		equal = bytes_equal(name_of(x[i].key), name_of(y[i].key)) && json_equal(x[i].value, y[i].value);
	free(x);
	free(y);
	return equal;
}

bool json_equal(const struct json *a, const struct json *b)
{
	if (a->type != b->type || a->count != b->count)
		return false;
	switch (a->type) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return a->boolean == b->boolean;
	case JSON_NUMBER:
		return equal_numbers(a->text, b->text);
	case JSON_STRING:
		return bytes_equal(bytes_of(a->text, a->text_len), bytes_of(b->text, b->text_len));
	case JSON_ARRAY:
		return equal_arrays(a, b);
	case JSON_OBJECT:
		return equal_objects(a, b);
	}
	return false;
}
