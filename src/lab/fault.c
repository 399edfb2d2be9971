/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault - faults, modes and counters of one simulated component.
 *
 * Which fault makes sense where, and for which calls, stands in one table.
 */
#include "lab/fault.h"

#include <stdlib.h>

#define ON_AA (1u << TARGET_AA | 1u << TARGET_ASR)
#define ON_AS (1u << TARGET_AS_REST | 1u << TARGET_AS_GRPC)
#define ON_REST (1u << TARGET_AS_REST)
#define ON_ALL (ON_AA | ON_AS)

#define FOR_ALL ((1u << CALL_KINDS) - 1)
#define FOR_EVIDENCE (1u << CALL_EVIDENCE)
#define FOR_TOKEN (1u << CALL_TOKEN)
#define FOR_CHALLENGE (1u << CALL_CHALLENGE)

static const struct kind_spec {
	const char *name;
	uint32_t targets; /* bits of 1 << target_id */
	uint32_t calls;	  /* bits of 1 << call_kind */
} kinds[FAULT_KINDS] = {
	[FAULT_NONE] = { "none", ON_ALL, FOR_ALL },
	[FAULT_SLOW] = { "slow", ON_ALL, FOR_ALL },
	[FAULT_HANG] = { "hang", ON_ALL, FOR_ALL },
	[FAULT_HOLD] = { "hold", ON_ALL, FOR_ALL },
	[FAULT_REFUSE] = { "refuse", ON_ALL, FOR_ALL },
	[FAULT_TRUNCATED] = { "truncated", ON_ALL, FOR_ALL },
	[FAULT_GARBAGE] = { "garbage", ON_ALL, FOR_ALL },
	[FAULT_HUGE] = { "huge", ON_ALL, FOR_ALL },
	[FAULT_DOWN] = { "down", ON_ALL, FOR_ALL },
	[FAULT_EXPIRED] = { "expired", ON_AS, FOR_TOKEN },
	[FAULT_WRONG_MEASUREMENT] = { "wrong_measurement", ON_ALL, FOR_TOKEN | FOR_EVIDENCE },
	[FAULT_WRONG_POLICY] = { "wrong_policy", ON_AS, FOR_TOKEN },
	[FAULT_WRONG_KEY] = { "wrong_key", ON_ALL, FOR_TOKEN | FOR_EVIDENCE },
	[FAULT_WRONG_SIGNATURE] = { "wrong_signature", ON_AS, FOR_TOKEN },
	[FAULT_UNTRUSTED] = { "untrusted", ON_AS, FOR_TOKEN },
	[MODE_DEVICE] = { "device", ON_AA, 1u << CALL_DEVICE },
	[MODE_EVIDENCE_SIZE] = { "evidence_size", ON_AA, FOR_EVIDENCE },
	[MODE_OLD] = { "old", ON_AS, FOR_TOKEN | FOR_CHALLENGE },
	[MODE_NEW] = { "new", 1u << TARGET_AS_GRPC, FOR_TOKEN },
	[MODE_NO_CERTIFICATE] = { "no_certificate", ON_REST, 1u << CALL_CERTIFICATE },
	[MODE_NO_CHALLENGE] = { "no_challenge", ON_REST, FOR_CHALLENGE },
	[MODE_NO_X5C] = { "no_x5c", ON_AS, FOR_TOKEN },
	[MODE_PADDED_X5C] = { "padded_x5c", ON_AS, FOR_TOKEN },
};

static const char *const call_names[CALL_KINDS] = {
	[CALL_TEE] = "tee",	[CALL_EVIDENCE] = "evidence",	[CALL_DEVICE] = "device",
	[CALL_TOKEN] = "token", [CALL_CHALLENGE] = "challenge", [CALL_CERTIFICATE] = "certificate",
	[CALL_OTHER] = "other",
};

static const char *const target_names[TARGET_COUNT] = {
	[TARGET_AA] = "aa",
	[TARGET_ASR] = "asr",
	[TARGET_AS_REST] = "as_rest",
	[TARGET_AS_GRPC] = "as_grpc",
};

static bool is_mode(enum fault_kind kind)
{
	return kind >= MODE_DEVICE;
}

const char *target_name(enum target_id id)
{
	return target_names[id];
}

bool target_from_name(const char *name, enum target_id *id)
{
	if (strcmp(name, "all") == 0) {
		*id = TARGET_COUNT;
		return true;
	}
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		if (strcmp(name, target_names[i]) == 0) {
			*id = i;
			return true;
		}
	}
	return false;
}

void target_init(struct target *t, enum target_id id)
{
	*t = (struct target){ .id = id };
	list_init(&t->held);
}

void target_reset_counters(struct target *t)
{
	free(t->last_tee);
	free(t->last_layout);
	free(t->last_policies);
	free(t->last_headers);
	t->last_tee = t->last_layout = t->last_policies = t->last_headers = NULL;
	t->issued = t->refused = 0;
	memset(t->methods, 0, sizeof(t->methods));
}

void target_release(struct target *t)
{
	target_reset_counters(t);
}

void target_count(struct target *t, const char *name)
{
	size_t i = 0;

	while (i < TARGET_METHODS - 1 && t->methods[i].name != NULL && strcmp(t->methods[i].name, name) != 0)
		i++;
	t->methods[i].name = name;
	t->methods[i].calls++;
}

static void format_string(struct buf *out, const char *name, const char *value)
{
	buf_format(out, ",\"%s\":", name);
	if (value == NULL)
		buf_append_str(out, "null");
	else
		json_append_string(out, bytes_str(value));
}

static void format_json(struct buf *out, const char *name, const char *json)
{
	buf_format(out, ",\"%s\":%s", name, json != NULL ? json : "null");
}

void target_format(const struct target *t, uint64_t connections, uint64_t open, struct buf *out)
{
	buf_append_str(out, "{\"calls\":{");
	for (size_t i = 0; i < TARGET_METHODS && t->methods[i].name != NULL; i++) {
		buf_append_str(out, i == 0 ? "" : ",");
		json_append_string(out, bytes_str(t->methods[i].name));
		buf_format(out, ":%llu", (unsigned long long)t->methods[i].calls);
	}
	buf_format(out,
		   "},\"connections\":%llu,\"open\":%llu,\"waiting\":%zu,\"issued\":%llu,"
		   "\"refused\":%llu",
		   (unsigned long long)connections, (unsigned long long)open, t->held_count,
		   (unsigned long long)t->issued, (unsigned long long)t->refused);
	format_string(out, "fault", kinds[t->fault.kind].name);
	if (ON_AS >> t->id & 1) {
		format_string(out, "last_tee", t->last_tee);
		format_string(out, "last_layout", t->last_layout);
		format_json(out, "last_policies", t->last_policies);
		format_json(out, "last_headers", t->last_headers);
	}
	buf_append_str(out, "}");
}

static bool kind_from_name(const char *name, enum fault_kind *kind)
{
	for (unsigned i = 0; i < FAULT_KINDS; i++) {
		if (strcmp(name, kinds[i].name) == 0) {
			*kind = i;
			return true;
		}
	}
	return false;
}

static int parse_member(const struct json *j, const char *name, int64_t min, int64_t max, uint64_t *out, struct err *e)
{
	const struct json *m = json_member(j, name);
	int64_t value;

	if (m == NULL)
		return 0;
	if (!json_integer(m, min, max, &value))
		return err_set(e, ERR_CONFIG, "%s: expected an integer from %lld to %lld", name, (long long)min,
			       (long long)max);
	*out = (uint64_t)value;
	return 0;
}

static int parse_only(const struct json *j, int *out, struct err *e)
{
	const struct json *m = json_member(j, "call");
	const char *name = json_string(m);

	*out = -1;
	if (m == NULL)
		return 0;
	for (int i = 0; name != NULL && i < CALL_KINDS; i++) {
		if (strcmp(name, call_names[i]) == 0) {
			*out = i;
			return 0;
		}
	}
	return err_set(e, ERR_CONFIG, "call: expected tee, evidence, device, token, challenge, certificate or other");
}

static int parse_target(const struct json *j, enum target_id *id, struct err *e)
{
	const struct json *m = json_member(j, "target");
	const char *name = json_string(m);

	*id = TARGET_COUNT;
	if (m == NULL || (name != NULL && target_from_name(name, id)))
		return 0;
	return err_set(e, ERR_CONFIG, "target: expected aa, asr, as_rest, as_grpc or all");
}

static int check_known_members(const struct json *j, struct err *e)
{
	static const char *const known[] = { "cmd", "target", "kind", "ms", "bytes", "count", "call" };

	for (size_t i = 0; i < j->count; i++) {
		bool found = false;

		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			found = found || strcmp(j->keys[i].name, known[k]) == 0;
		if (!found)
			return err_set(e, ERR_CONFIG, "%s: unknown member", j->keys[i].name);
	}
	return 0;
}

int fault_parse(const struct json *j, struct fault *out, uint32_t *targets, struct err *e)
{
	const char *name = json_string(json_member(j, "kind"));
	enum target_id id;

	*out = (struct fault){ .ms = FAULT_SLOW_MS };
	if (j == NULL || j->type != JSON_OBJECT)
		return err_set(e, ERR_CONFIG, "a fault is an object");
	if (check_known_members(j, e) < 0)
		return -1;
	if (name == NULL || !kind_from_name(name, &out->kind))
		return err_set(e, ERR_CONFIG, "kind: no fault of this name, see docs/lab.md");
	out->bytes = out->kind == FAULT_HUGE ? FAULT_HUGE_BYTES : 0;
	if (parse_target(j, &id, e) < 0 || parse_only(j, &out->only, e) < 0 ||
	    parse_member(j, "ms", 0, FAULT_MS_MAX, &out->ms, e) < 0 ||
	    parse_member(j, "bytes", 0, out->kind == FAULT_HUGE ? FAULT_HUGE_BYTES_MAX : EVIDENCE_SIZE_MAX, &out->bytes,
			 e) < 0 ||
	    parse_member(j, "count", 1, INT32_MAX, &out->left, e) < 0)
		return -1;
	if (out->kind == FAULT_DOWN && (out->left != 0 || out->only >= 0))
		return err_set(e, ERR_CONFIG, "down: ends with none, not by count or call");
	*targets = kinds[out->kind].targets;
	if (id != TARGET_COUNT)
		*targets &= 1u << id;
	if (*targets == 0)
		return err_set(e, ERR_CONFIG, "%s: not for target %s", name, target_name(id));
	return 0;
}

void fault_set(struct target *t, const struct fault *f)
{
	if (f->kind == FAULT_NONE) {
		t->fault = (struct fault){ 0 };
		memset(t->modes, 0, sizeof(t->modes));
	} else if (is_mode(f->kind)) {
		t->modes[f->kind] = *f;
		if (f->kind == MODE_OLD || f->kind == MODE_NEW) /* not both */
			t->modes[f->kind == MODE_OLD ? MODE_NEW : MODE_OLD] = (struct fault){ 0 };
	} else {
		t->fault = *f;
	}
}

/* Whether f is for this call. */
static bool fault_applies(struct fault *f, enum call_kind call)
{
	if (f->kind == FAULT_NONE || !(kinds[f->kind].calls >> call & 1))
		return false;
	if (f->only >= 0 && f->only != (int)call)
		return false;
	return true;
}

static void fault_count_down(struct fault *f)
{
	if (f->left > 0 && --f->left == 0)
		f->kind = FAULT_NONE;
}

struct dealt fault_deal(struct target *t, enum call_kind call)
{
	struct dealt d = { .fault = FAULT_NONE };

	if (fault_applies(&t->fault, call)) {
		d.fault = t->fault.kind;
		d.ms = t->fault.ms;
		d.bytes = t->fault.bytes;
		fault_count_down(&t->fault);
	}
	for (unsigned i = MODE_DEVICE; i < FAULT_KINDS; i++) {
		if (!fault_applies(&t->modes[i], call))
			continue;
		d.modes |= 1u << i;
		if (i == MODE_EVIDENCE_SIZE)
			d.evidence_size = t->modes[i].bytes;
		fault_count_down(&t->modes[i]);
	}
	return d;
}

static void pending_end(struct pending *p)
{
	timer_cancel(p->loop, &p->timer);
	list_remove(&p->link);
	p->target->held_count--;
	p->target = NULL;
	p->held = false;
}

static void on_pending_expired(struct timer *t)
{
	struct pending *p = container_of(t, struct pending, timer);

	pending_end(p);
	p->resume(p);
}

void pending_init(struct pending *p, void (*resume)(struct pending *self))
{
	*p = (struct pending){ .resume = resume };
	list_init(&p->link);
	timer_init(&p->timer, on_pending_expired);
}

bool pending_start(struct pending *p, struct loop *loop, struct target *t, const struct dealt *d)
{
	if (d->fault != FAULT_SLOW && d->fault != FAULT_HANG && d->fault != FAULT_HOLD)
		return false;
	p->loop = loop;
	p->target = t;
	p->held = d->fault == FAULT_HOLD;
	list_append(&t->held, &p->link);
	t->held_count++;
	if (d->fault == FAULT_SLOW)
		timer_start(loop, &p->timer, d->ms);
	return true;
}

void pending_cancel(struct pending *p)
{
	if (p->target != NULL)
		pending_end(p);
}

/* They are resumed from the loop: what resumes may free its neighbours in the list. */
size_t target_release_held(struct target *t)
{
	size_t count = 0;

	if (t->fault.kind == FAULT_HOLD)
		t->fault = (struct fault){ 0 };
	LIST_EACH (link, &t->held) {
		struct pending *p = container_of(link, struct pending, link);

		if (!p->held)
			continue;
		timer_start(p->loop, &p->timer, 0);
		count++;
	}
	return count;
}
