/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab - starts and stops the simulated components.
 *
 * Stopping mirrors starting: control socket, listeners, authority, loop, directory.
 */
#include "lab/lab.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lab/dir.h"
#include "lab/sample.h"

#define AA_SOCKET "aa.sock"
#define CONTROL_SOCKET "control.sock"
#define CA_FILE "ca.pem"

struct running {
	struct lab lab;
	struct lab_dir dir;
	struct watch signals;
	bool has_ca_file;
};

struct lab *lab_of_control(struct listener *l)
{
	return container_of(l, struct lab, control);
}

struct lab *lab_of(struct listener *l, enum target_id id)
{
	return container_of(l - id, struct lab, listeners[0]);
}

bool token_form_from_name(const char *name, enum token_form *form)
{
	if (name == NULL || (strcmp(name, "ear") != 0 && strcmp(name, "simple") != 0))
		return false;
	*form = strcmp(name, "ear") == 0 ? TOKEN_EAR : TOKEN_SIMPLE;
	return true;
}

void lab_stop(struct lab *lab)
{
	loop_stop(lab->loop);
}

int lab_apply_fault(struct lab *lab, const struct fault *f, uint32_t targets, struct err *e)
{
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		struct target *t = &lab->targets[i];

		if (!(targets >> i & 1))
			continue;
		if (t->fault.kind == FAULT_HOLD && f->kind == FAULT_NONE)
			target_release_held(t);
		fault_set(t, f);
		if (t->fault.kind == FAULT_DOWN)
			listener_down(&lab->listeners[i]);
		else if (listener_up(&lab->listeners[i], e) < 0)
			return -1;
	}
	return 0;
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct running *r = container_of(w, struct running, signals);
	struct signalfd_siginfo info;
	ssize_t ignored = read(w->fd, &info, sizeof(info));

	(void)ignored;
	(void)events;
	lab_stop(&r->lab);
}

static int watch_signals(struct running *r, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals.ready = on_signal;
	r->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (r->signals.fd < 0)
		return err_errno(e, ERR_SYSTEM, "signalfd");
	return loop_watch(r->lab.loop, &r->signals, EPOLLIN, e);
}

/* Many connections are part of what the lab is for. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void init_service(struct lab *lab, const struct lab_options *o)
{
	struct appraise_service *s = &lab->service;

	s->mint = lab->mint;
	s->form = o->form;
	s->lifetime_s = o->lifetime_s;
	snprintf(s->measurement, sizeof(s->measurement), "%s",
		 o->measurement != NULL ? o->measurement : SAMPLE_MEASUREMENT);
	s->policy_count = o->policy_count;
	memcpy(s->policy_ids, o->policy_ids, sizeof(s->policy_ids));
}

static int apply_first_faults(struct lab *lab, const char *text, struct err *e)
{
	struct json *j;
	int rc = 0;

	if (text == NULL)
		return 0;
	j = json_parse(bytes_str(text), JSON_STRICT, e);
	if (j == NULL)
		return err_wrap(e, "--faults");
	if (j->type != JSON_ARRAY)
		rc = err_set(e, ERR_CONFIG, "--faults: expected an array of faults");
	for (size_t i = 0; rc == 0 && i < j->count; i++) {
		struct fault f;
		uint32_t targets;

		if (fault_parse(j->items[i], &f, &targets, e) < 0 || lab_apply_fault(lab, &f, targets, e) < 0)
			rc = err_wrap(e, "--faults[%zu]", i);
	}
	json_free(j);
	return rc;
}

static int listen_unix(struct running *r, struct listener *l, const char *name, const struct conn_ops *ops,
		       struct err *e)
{
	char *path = lab_dir_file(&r->dir, name);
	int rc = listener_open_unix(l, r->lab.loop, path, ops, e);

	free(path);
	return rc;
}

static int listen_all(struct running *r, const struct lab_options *o, struct err *e)
{
	struct lab *lab = &r->lab;

	if (listen_unix(r, &lab->listeners[TARGET_AA], AA_SOCKET, &aa_server, e) < 0)
		return err_wrap(e, "attestation agent");
	if (listener_open_tcp(&lab->listeners[TARGET_ASR], lab->loop, o->asr_port, &asr_server, e) < 0)
		return err_wrap(e, "API server");
	if (listener_open_tcp(&lab->listeners[TARGET_AS_REST], lab->loop, o->as_rest_port, &as_rest_server, e) < 0)
		return err_wrap(e, "attestation service over HTTP");
	if (listener_open_tcp(&lab->listeners[TARGET_AS_GRPC], lab->loop, o->as_grpc_port, &as_grpc_server, e) < 0)
		return err_wrap(e, "attestation service over gRPC");
	if (listen_unix(r, &lab->control, CONTROL_SOCKET, &control_server, e) < 0)
		return err_wrap(e, "control socket");
	return 0;
}

static int write_ca_file(struct running *r, struct err *e)
{
	struct buf pem = { 0 };
	int rc;

	mint_ca_pem(r->lab.mint, &pem);
	rc = lab_dir_write(&r->dir, CA_FILE, buf_bytes(&pem), e);
	r->has_ca_file = rc == 0;
	buf_release(&pem);
	return rc;
}

static void append_path(struct buf *out, const char *name, const char *prefix, const struct lab_dir *d,
			const char *file)
{
	char *text = mem_format("%s%s/%s", prefix, d->path, file);

	buf_format(out, "\"%s\":", name);
	json_append_string(out, bytes_str(text));
	buf_append_str(out, ",");
	free(text);
}

/* One line, so that whoever started the lab can read it and go on. */
static int print_ready(struct running *r, struct err *e)
{
	struct lab *lab = &r->lab;
	struct buf out = { 0 };
	bool good;

	buf_append_str(&out, "{");
	append_path(&out, "aa", "unix://", &r->dir, AA_SOCKET);
	append_path(&out, "ca", "", &r->dir, CA_FILE);
	append_path(&out, "control", "", &r->dir, CONTROL_SOCKET);
	buf_format(&out,
		   "\"asr\":\"http://127.0.0.1:%u\",\"as_rest\":\"http://127.0.0.1:%u\","
		   "\"as_grpc\":\"http://127.0.0.1:%u\",\"token\":\"%s\",\"policy_ids\":[\"%s\"",
		   lab->listeners[TARGET_ASR].port, lab->listeners[TARGET_AS_REST].port,
		   lab->listeners[TARGET_AS_GRPC].port, lab->service.form == TOKEN_EAR ? "ear" : "simple",
		   APPRAISE_DEFAULT_POLICY);
	for (size_t i = 0; i < lab->service.policy_count; i++) {
		buf_append_str(&out, ",");
		json_append_string(&out, bytes_str(lab->service.policy_ids[i]));
	}
	buf_format(&out, "],\"pid\":%d}\n", (int)getpid());
	good = fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
	buf_release(&out);
	return good ? 0 : err_errno(e, ERR_SYSTEM, "write to standard output");
}

static int start(struct running *r, const struct lab_options *o, struct err *e)
{
	struct lab *lab = &r->lab;

	if (lab_dir_open(&r->dir, o->dir, e) < 0)
		return -1;
	lab->loop = loop_new(e);
	if (lab->loop == NULL || watch_signals(r, e) < 0)
		return -1;
	lab->mint = mint_new_for(o->form, clock_unix(), e);
	if (lab->mint == NULL)
		return err_wrap(e, "certificate authority");
	init_service(lab, o);
	if (write_ca_file(r, e) < 0 || listen_all(r, o, e) < 0 || apply_first_faults(lab, o->faults, e) < 0)
		return -1;
	return print_ready(r, e);
}

static void stop(struct running *r)
{
	struct lab *lab = &r->lab;

	listener_close(&lab->control);
	for (unsigned i = 0; i < TARGET_COUNT; i++) {
		listener_close(&lab->listeners[i]);
		target_release(&lab->targets[i]);
	}
	if (r->has_ca_file)
		lab_dir_remove(&r->dir, CA_FILE);
	mint_free(lab->mint);
	if (r->signals.fd >= 0) {
		loop_unwatch(lab->loop, &r->signals);
		close(r->signals.fd);
	}
	loop_free(lab->loop);
	lab_dir_close(&r->dir);
}

int lab_run(const struct lab_options *options, struct err *e)
{
	struct running *r = mem_new_of(struct running);
	int rc;

	r->dir.lock_fd = -1;
	r->signals.fd = -1;
	for (unsigned i = 0; i < TARGET_COUNT; i++)
		target_init(&r->lab.targets[i], i);
	raise_descriptor_limit();
	rc = start(r, options, e);
	if (rc == 0)
		loop_run(r->lab.loop);
	stop(r);
	free(r);
	return rc;
}
