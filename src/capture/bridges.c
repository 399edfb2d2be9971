/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridges - links, asked of rtnetlink.
 *
 * Two passes over one dump: a port may be listed before its bridge.
 */
#include "capture/bridges.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

/* The kernel fills what a reader offers, up to this. */
#define DUMP_PIECE 32768

struct link {
	char name[IFNAMSIZ];
	char address[BRIDGE_ADDRESS_TEXT];
	uint32_t index;
	uint32_t master; /* 0: none */
	bool is_bridge;
};

struct links {
	struct link *items;
	size_t count;
};

static bool is_kind_bridge(const struct nlattr *info)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, info) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			return mnl_attr_get_payload_len(attr) >= 6 &&
			       memcmp(mnl_attr_get_payload(attr), "bridge", 6) == 0;
	}
	return false;
}

static void take_attribute(struct link *l, const struct nlattr *attr)
{
	const uint8_t *bytes = mnl_attr_get_payload(attr);

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(attr));
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(attr) == 6)
			snprintf(l->address, sizeof(l->address), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1],
				 bytes[2], bytes[3], bytes[4], bytes[5]);
		break;
	case IFLA_MASTER:
		l->master = mnl_attr_get_u32(attr);
		break;
	case IFLA_LINKINFO:
		l->is_bridge = is_kind_bridge(attr);
		break;
	}
}

static int on_link(const struct nlmsghdr *m, void *arg)
{
	struct links *links = arg;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
	const struct nlattr *attr;
	struct link l = { .index = (uint32_t)info->ifi_index };

	mnl_attr_for_each (attr, m, sizeof(*info))
		take_attribute(&l, attr);
	links->items = mem_resize(links->items, (links->count + 1) * sizeof(*links->items));
	links->items[links->count++] = l;
	return MNL_CB_OK;
}

static int dump_links(struct mnl_socket *sock, struct links *links)
{
	char space[DUMP_PIECE];
	struct nlmsghdr *m = mnl_nlmsg_put_header(space);
	struct ifinfomsg *info;
	uint32_t seq = (uint32_t)time(NULL);
	int rc;

	m->nlmsg_type = RTM_GETLINK;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	m->nlmsg_seq = seq;
	info = mnl_nlmsg_put_extra_header(m, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	if (mnl_socket_sendto(sock, m, m->nlmsg_len) < 0)
		return -1;
	do {
		ssize_t len = mnl_socket_recvfrom(sock, space, sizeof(space));

		if (len < 0)
			return -1;
		rc = mnl_cb_run(space, (size_t)len, seq, mnl_socket_get_portid(sock), on_link, links);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -1 : 0;
}

static void add_ports(struct bridge *b, const struct links *links)
{
	for (size_t i = 0; i < links->count; i++) {
		if (links->items[i].master != b->index)
			continue;
		b->ports = mem_resize(b->ports, (b->port_count + 1) * sizeof(*b->ports));
		memcpy(b->ports[b->port_count++].name, links->items[i].name, IFNAMSIZ);
	}
}

static void add_bridges(struct bridge_list *list, const struct links *links)
{
	for (size_t i = 0; i < links->count; i++) {
		const struct link *l = &links->items[i];
		struct bridge *b;

		if (!l->is_bridge)
			continue;
		list->items = mem_resize(list->items, (list->count + 1) * sizeof(*list->items));
		b = &list->items[list->count++];
		*b = (struct bridge){ .index = l->index };
		memcpy(b->name, l->name, sizeof(b->name));
		memcpy(b->address, l->address, sizeof(b->address));
		add_ports(b, links);
	}
}

int bridges_find(struct bridge_list *list, struct err *e)
{
	struct mnl_socket *sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct links links = { 0 };
	int rc = -1;

	*list = (struct bridge_list){ 0 };
	if (sock == NULL || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) < 0 || dump_links(sock, &links) != 0) {
		err_errno(e, ERR_SYSTEM, "list the interfaces");
		goto out;
	}
	add_bridges(list, &links);
	rc = 0;
out:
	free(links.items);
	if (sock != NULL)
		mnl_socket_close(sock);
	return rc;
}

void bridge_list_release(struct bridge_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].ports);
	free(list->items);
	*list = (struct bridge_list){ 0 };
}

const struct bridge *bridge_of_port(const struct bridge_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		for (size_t k = 0; k < list->items[i].port_count; k++) {
			if (strcmp(list->items[i].ports[k].name, name) == 0)
				return &list->items[i];
		}
	}
	return NULL;
}

const char *bridges_call_iptables(void)
{
	static const char *const names[] = { "bridge-nf-call-iptables", "bridge-nf-call-ip6tables" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *path = mem_format("/proc/sys/net/bridge/%s", names[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC); /* not there: br_netfilter is not loaded, all is well */
		char value = '0';

		free(path);
		if (fd < 0)
			continue;
		if (read(fd, &value, 1) != 1)
			value = '0';
		close(fd);
		if (value != '0')
			return names[i];
	}
	return NULL;
}
