/* SPDX-License-Identifier: Apache-2.0 */
/* local_addr - "ip route get", and whether the answer is a local route. */
#include "capture/local_addr.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_SIZE 4096 /* one route */

struct question {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr attr;
	uint8_t addr[16];
};

static void ask(struct question *q, const struct sock_addr *a)
{
	bool is_v6 = a->any.sa_family == AF_INET6;
	unsigned len = is_v6 ? 16 : 4;

	*q = (struct question){
		.head = { .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
		.route = { .rtm_family = (unsigned char)a->any.sa_family, .rtm_dst_len = (unsigned char)(8 * len) },
		.attr = { .rta_type = RTA_DST, .rta_len = (unsigned short)RTA_LENGTH(len) },
	};
	q->head.nlmsg_len = (uint32_t)(offsetof(struct question, addr) + len);
	memcpy(q->addr, is_v6 ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr, len);
}

/* "No route" comes as an error, which no address of ours has. */
static bool is_local(const struct nlmsghdr *head, size_t len)
{
	if (len < NLMSG_LENGTH(0) || !NLMSG_OK(head, len))
		return true;
	if (head->nlmsg_type == NLMSG_ERROR)
		return len < NLMSG_LENGTH(sizeof(struct nlmsgerr));
	if (head->nlmsg_type != RTM_NEWROUTE || head->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg)))
		return true;
	return ((const struct rtmsg *)NLMSG_DATA(head))->rtm_type == RTN_LOCAL;
}

bool local_addr_is_ours(const struct sock_addr *a)
{
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_SIZE];
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct question q;
	ssize_t len = -1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return true;
	ask(&q, a);
	/* The kernel has queued its answer when sendto() returns. */
	if (sendto(fd, &q, q.head.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) >= 0)
		len = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	return len < 0 || is_local((const struct nlmsghdr *)answer, (size_t)len);
}
