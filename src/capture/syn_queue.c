/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syn_queue - nfnetlink_queue over one netlink socket.
 *
 * The socket tells no overrun (NETLINK_NO_ENOBUFS): a packet that does not fit is dropped by the kernel, and its client
 * sends it again. Verdicts ask for no acknowledgement: one for a packet that has gone meanwhile means nothing.
 */
#include "capture/syn_queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* IPv6 with extension headers, and TCP with its options: more of a packet than syn_parse() needs. */
#define COPY_SIZE 512
#define RECEIVE_SIZE 16384 /* one message and what the kernel adds; also the most that it sends as one */
#define REQUEST_SIZE 256
#define ANSWER_S 5		/* of the kernel to a configuration */
#define SOCKET_BUFFER (4 << 20) /* a burst of some thousands, counted as the kernel does */
#define MESSAGES_PER_TURN 256
#define BAD_LOGGED 1 /* lines a second */

struct syn_queue {
	struct mnl_socket *sock;
	struct loop *loop;
	struct watch watch;
	struct syn_queue_events *events;
	struct log_limit bad;
	uint32_t seq; /* of the last configuration message; other messages have none */
};

/* ---- requests ---- */

static struct nlmsghdr *begin(char *buf, unsigned type, uint16_t queue)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
	m->nlmsg_flags = NLM_F_REQUEST;
	g = mnl_nlmsg_put_extra_header(m, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(queue);
	return m;
}

static void verdict(struct syn_queue *s, const struct queued *q, unsigned what, const uint32_t *mark)
{
	struct nfqnl_msg_verdict_hdr v = { .verdict = htonl(what), .id = htonl(q->id) };
	char buf[REQUEST_SIZE];
	struct nlmsghdr *m = begin(buf, NFQNL_MSG_VERDICT, q->queue);

	mnl_attr_put(m, NFQA_VERDICT_HDR, sizeof(v), &v);
	if (mark != NULL)
		mnl_attr_put_u32(m, NFQA_MARK, htonl(*mark));
	/* When it does not get there, the packet waits until the queue closes, and is dropped then. */
	if (mnl_socket_sendto(s->sock, m, m->nlmsg_len) < 0)
		log_debug("netfilter queue %u: a verdict is lost: %s", q->queue, strerror(errno));
}

void syn_queue_repeat(struct syn_queue *s, const struct queued *q, uint32_t mark)
{
	verdict(s, q, NF_REPEAT, &mark);
}

void syn_queue_drop(struct syn_queue *s, const struct queued *q)
{
	verdict(s, q, NF_DROP, NULL);
}

/* ---- packets ---- */

static int remember_attribute(const struct nlattr *a, void *arg)
{
	const struct nlattr **found = arg;

	if (mnl_attr_type_valid(a, NFQA_MAX) > 0)
		found[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

/* false: not a packet that was held back. found: its attributes. */
static bool read_packet(const struct nlmsghdr *m, const struct nlattr *found[NFQA_MAX + 1], struct queued *q)
{
	const struct nfgenmsg *g = mnl_nlmsg_get_payload(m);
	const struct nfqnl_msg_packet_hdr *h;

	if (m->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) ||
	    mnl_attr_parse(m, sizeof(*g), remember_attribute, found) < 0 || found[NFQA_PACKET_HDR] == NULL)
		return false;
	h = mnl_attr_get_payload(found[NFQA_PACKET_HDR]);
	q->queue = ntohs(g->res_id);
	q->id = ntohl(h->packet_id);
	q->mark = found[NFQA_MARK] != NULL ? ntohl(mnl_attr_get_u32(found[NFQA_MARK])) : 0;
	return true;
}

static void refuse(struct syn_queue *s, const struct queued *q, enum syn_parse why)
{
	unsigned skipped;

	if (log_limit_pass(&s->bad, BAD_LOGGED, loop_now_ms(s->loop), &skipped))
		log_debug("netfilter queue %u: a packet is dropped: %s (%u like this were not logged)", q->queue,
			  syn_parse_text(why), skipped);
	syn_queue_drop(s, q);
}

static int on_message(const struct nlmsghdr *m, void *arg)
{
	struct syn_queue *s = arg;
	const struct nlattr *found[NFQA_MAX + 1] = { NULL };
	struct queued q;
	struct syn syn;
	enum syn_parse result;

	if (!read_packet(m, found, &q))
		return MNL_CB_OK;
	if (found[NFQA_PAYLOAD] == NULL) {
		refuse(s, &q, SYN_CUT);
		return MNL_CB_OK;
	}
	result = syn_parse(
		bytes_of(mnl_attr_get_payload(found[NFQA_PAYLOAD]), mnl_attr_get_payload_len(found[NFQA_PAYLOAD])),
		&syn);
	if (result == SYN_GOOD)
		s->events->came(s->events, &q, &syn);
	else
		refuse(s, &q, result);
	return MNL_CB_OK;
}

static void lose(struct syn_queue *s)
{
	struct err why;

	err_errno(&why, ERR_SYSTEM, "netfilter queue");
	loop_unwatch(s->loop, &s->watch);
	s->events->lost(s->events, &why);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct syn_queue *s = container_of(w, struct syn_queue, watch);
	char buf[RECEIVE_SIZE];

	(void)events;
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		ssize_t len = mnl_socket_recvfrom(s->sock, buf, sizeof(buf));

		if (len < 0 && (errno == EINTR || errno == ENOBUFS || errno == ENOSPC))
			continue;
		if (len < 0 && errno == EAGAIN)
			return;
		if (len <= 0) {
			lose(s);
			return;
		}
		/* An error that the kernel tells is about a verdict for a packet that has gone. */
		(void)mnl_cb_run(buf, (size_t)len, 0, mnl_socket_get_portid(s->sock), on_message, s);
	}
}

/* ---- configuration ---- */

/* Nobody could make a tunnel for it yet. Its client sends it again. */
static void drop_early(struct syn_queue *s, const struct nlmsghdr *m)
{
	const struct nlattr *found[NFQA_MAX + 1] = { NULL };
	struct queued q;

	if (read_packet(m, found, &q))
		syn_queue_drop(s, &q);
}

/* The answer to our last message, or NULL. Rules may stand already, so that packets come before it, and in between. */
static const struct nlmsgerr *find_answer(struct syn_queue *s, const char *reply, int len)
{
	const struct nlmsghdr *m = (const struct nlmsghdr *)reply;
	const struct nlmsgerr *answer = NULL;

	for (; mnl_nlmsg_ok(m, len); m = mnl_nlmsg_next(m, &len)) {
		if (m->nlmsg_type != NLMSG_ERROR)
			drop_early(s, m);
		else if (m->nlmsg_seq == s->seq && mnl_nlmsg_get_payload_len(m) >= sizeof(*answer))
			answer = mnl_nlmsg_get_payload(m);
	}
	return answer;
}

/* 0, or -1 with errno. */
static int configure(struct syn_queue *s, struct nlmsghdr *m)
{
	char reply[RECEIVE_SIZE];
	const struct nlmsgerr *answer = NULL;

	m->nlmsg_flags |= NLM_F_ACK;
	m->nlmsg_seq = ++s->seq;
	if (mnl_socket_sendto(s->sock, m, m->nlmsg_len) < 0)
		return -1;
	while (answer == NULL) {
		ssize_t len = mnl_socket_recvfrom(s->sock, reply, sizeof(reply));

		if (len < 0)
			return -1;
		answer = find_answer(s, reply, (int)len);
	}
	errno = -answer->error;
	return answer->error == 0 ? 0 : -1;
}

static int bind_queue(struct syn_queue *s, uint16_t number)
{
	struct nfqnl_msg_config_cmd bind = { .command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_UNSPEC) };
	char buf[REQUEST_SIZE];
	struct nlmsghdr *m = begin(buf, NFQNL_MSG_CONFIG, number);

	mnl_attr_put(m, NFQA_CFG_CMD, sizeof(bind), &bind);
	return configure(s, m);
}

static int set_up_queue(struct syn_queue *s, uint16_t number, unsigned length)
{
	struct nfqnl_msg_config_params params = { .copy_range = htonl(COPY_SIZE), .copy_mode = NFQNL_COPY_PACKET };
	char buf[REQUEST_SIZE];
	struct nlmsghdr *m = begin(buf, NFQNL_MSG_CONFIG, number);

	mnl_attr_put(m, NFQA_CFG_PARAMS, sizeof(params), &params);
	mnl_attr_put_u32(m, NFQA_CFG_QUEUE_MAXLEN, htonl(length));
	return configure(s, m);
}

static int open_queue(struct syn_queue *s, uint16_t number, unsigned length, struct err *e)
{
	if (bind_queue(s, number) < 0) {
		err_errno(e, ERR_SYSTEM, "read netfilter queue %u%s", number,
			  errno == EBUSY || errno == EPERM ? ": another process reads it, or CAP_NET_ADMIN is missing"
							   : "");
		return -1;
	}
	if (set_up_queue(s, number, length) < 0)
		return err_errno(e, ERR_SYSTEM, "set up netfilter queue %u", number);
	return 0;
}

/* ---- the life ---- */

static void set_up_socket(struct syn_queue *s)
{
	int size = SOCKET_BUFFER;
	int on = 1;
	int fd = mnl_socket_get_fd(s->sock);
	struct timeval answer = { .tv_sec = ANSWER_S };

	/* Without it fewer packets wait, and more are sent again. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)mnl_socket_setsockopt(s->sock, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	/* Packets may take all of the buffer, and the answer to our configuration is lost then. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer, sizeof(answer));
}

struct syn_queue *syn_queue_open(const uint16_t *numbers, size_t count, unsigned length, struct err *e)
{
	struct syn_queue *s = mem_new_of(struct syn_queue);
	int fd;

	s->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (s->sock == NULL || mnl_socket_bind(s->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(e, ERR_SYSTEM, "nfnetlink");
		syn_queue_close(s);
		return NULL;
	}
	set_up_socket(s);
	for (size_t i = 0; i < count; i++) {
		if (open_queue(s, numbers[i], length, e) < 0) {
			syn_queue_close(s);
			return NULL;
		}
	}
	fd = mnl_socket_get_fd(s->sock);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		err_errno(e, ERR_SYSTEM, "nfnetlink");
		syn_queue_close(s);
		return NULL;
	}
	s->watch.fd = fd;
	s->watch.ready = on_ready;
	return s;
}

int syn_queue_start(struct syn_queue *s, struct loop *l, struct syn_queue_events *events, struct err *e)
{
	s->loop = l;
	s->events = events;
	return loop_watch(l, &s->watch, EPOLLIN, e);
}

void syn_queue_close(struct syn_queue *s)
{
	if (s == NULL)
		return;
	if (s->loop != NULL)
		loop_unwatch(s->loop, &s->watch);
	if (s->sock != NULL)
		mnl_socket_close(s->sock);
	free(s);
}
