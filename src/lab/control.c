/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control - the lab's control socket: a JSON object per line in, a JSON object per line out. docs/lab.md.
 */
#include <stdlib.h>

#include "lab/lab.h"

#define LINE_MAX_LEN (64u << 10)

struct control_conn {
	struct conn conn;
};

static void reply_ok(struct buf *out)
{
	buf_append_str(out, "{\"ok\":true}\n");
}

static void reply_error(const char *text, struct buf *out)
{
	buf_append_str(out, "{\"ok\":false,\"error\":");
	json_append_string(out, bytes_str(text));
	buf_append_str(out, "}\n");
}

static int command_fault(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	struct fault f;
	uint32_t targets;

	if (fault_parse(j, &f, &targets, e) < 0 || lab_apply_fault(lab, &f, targets, e) < 0)
		return -1;
	reply_ok(out);
	return 0;
}

static int command_stats(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	(void)j;
	(void)e;
	buf_append_str(out, "{\"ok\":true");
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		buf_format(out, ",\"%s\":", target_name(i));
		target_format(&lab->targets[i], lab->listeners[i].accepted, lab->listeners[i].conn_count, out);
	}
	buf_append_str(out, "}\n");
	return 0;
}

static int command_release(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	const struct json *m = json_member(j, "target");
	const char *name = json_string(m);
	enum target_id id = TARGET_COUNT;
	size_t count = 0;

	if (m != NULL && (name == NULL || !target_from_name(name, &id)))
		return err_set(e, ERR_CONFIG, "target: expected aa, asr, as_rest, as_grpc or all");
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		if (id == TARGET_COUNT || id == i)
			count += target_release_held(&lab->targets[i]);
	}
	buf_format(out, "{\"ok\":true,\"released\":%zu}\n", count);
	return 0;
}

static int command_reset(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	const struct fault none = { .kind = FAULT_NONE, .only = -1 };

	(void)j;
	if (lab_apply_fault(lab, &none, (1u << TARGET_COUNT) - 1, e) < 0)
		return -1;
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		target_reset_counters(&lab->targets[i]);
		lab->listeners[i].accepted = 0;
	}
	reply_ok(out);
	return 0;
}

/* What can be changed while the lab runs: the form and the lifetime of the tokens. */
static int command_set(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	const struct json *token = json_member(j, "token");
	const struct json *lifetime = json_member(j, "lifetime");
	enum token_form form = lab->service.form;
	int64_t seconds = lab->service.lifetime_s;

	if (token != NULL && !token_form_from_name(json_string(token), &form))
		return err_set(e, ERR_CONFIG, "token: expected ear or simple");
	if (lifetime != NULL && !json_integer(lifetime, 1, LAB_LIFETIME_MAX_S, &seconds))
		return err_set(e, ERR_CONFIG, "lifetime: expected 1 to %d seconds", LAB_LIFETIME_MAX_S);
	if (mint_prepare(lab->mint, form, e) < 0)
		return -1;
	lab->service.form = form;
	lab->service.lifetime_s = (unsigned)seconds;
	reply_ok(out);
	return 0;
}

static int command_stop(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	(void)j;
	(void)e;
	reply_ok(out);
	lab_stop(lab);
	return 0;
}

static const struct command {
	const char *name;
	int (*run)(struct lab *lab, const struct json *j, struct buf *out, struct err *e);
} commands[] = {
	{ "fault", command_fault }, { "release", command_release }, { "stats", command_stats },
	{ "reset", command_reset }, { "set", command_set },	    { "stop", command_stop },
};

static int run_command(struct lab *lab, const struct json *j, struct buf *out, struct err *e)
{
	const char *name = json_string(json_member(j, "cmd"));

	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(lab, j, out, e);
	}
	return err_set(e, ERR_CONFIG, "cmd: expected fault, release, stats, reset, set or stop");
}

static void on_line(struct conn *c, struct bytes line)
{
	struct err e;
	struct json *j = json_parse(line, JSON_STRICT, &e);

	if (j == NULL || run_command(lab_of_control(c->listener), j, &c->out, &e) < 0)
		reply_error(e.text, &c->out);
	json_free(j);
}

static void on_input(struct conn *c)
{
	while (!c->closed && !c->finishing && !conn_is_full(c)) {
		struct bytes in = conn_input(c);
		ssize_t end = in.len > 0 ? bytes_find(in, bytes_str("\n")) : -1;

		if (end < 0)
			break;
		on_line(c, bytes_of(in.data, (size_t)end));
		conn_consume(c, (size_t)end + 1);
		conn_flush(c);
	}
	if (c->closed || c->finishing)
		return;
	if (conn_input(c).len > LINE_MAX_LEN) {
		reply_error("the line is too long", &c->out);
		conn_finish(c);
	} else if (c->input_ended && !conn_is_full(c)) {
		conn_finish(c);
	}
}

static struct conn *open_conn(struct listener *l)
{
	(void)l;
	return &mem_new_of(struct control_conn)->conn;
}

static void on_deadline(struct conn *c)
{
	conn_finish(c); /* none is set */
}

static void on_closed(struct conn *c)
{
	free(container_of(c, struct control_conn, conn));
}

const struct conn_ops control_server = {
	.open = open_conn,
	.on_input = on_input,
	.on_deadline = on_deadline,
	.on_closed = on_closed,
};
