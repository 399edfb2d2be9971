/* SPDX-License-Identifier: Apache-2.0 */
/* mapping - the ports of mapping rules. */
#include "capture/mapping.h"

#include <string.h>

#include "io/local_ports.h"

static void aim(const struct listener *l, struct captured *c)
{
	c->to = l->to;
}

static int open_port(struct listeners *ls, const struct mapping_rule_conf *rule, uint16_t offset,
		     const struct sock_options *sock, bool shared, struct err *e)
{
	struct sock_listen_options how = { .shared = shared };
	struct endpoint to = endpoint_of(rule->out_host, (uint16_t)(rule->out_port + offset));
	const char *host = strcmp(rule->in_host, "localhost") == 0 ? "127.0.0.1" : rule->in_host;
	struct sock_addr addr;

	if (!sock_addr_parse(host, (uint16_t)(rule->in_port + offset), &addr))
		return err_set(e, ERR_CONFIG, "listen on %s: not an IPv4 or IPv6 address", host);
	if (listeners_add(ls, &addr, &to, sock, &how, e) == 0)
		return 0;
	local_ports_explain(sock_addr_port(&addr), e);
	return -1;
}

struct listeners *mapping_open(const struct mapping_rule_conf *rules, size_t count, const struct sock_options *sock,
			       bool shared, const char *name, struct err *e)
{
	struct listeners *ls;
	size_t ports = 0;

	for (size_t i = 0; i < count; i++)
		ports += (size_t)rules[i].in_port_end - rules[i].in_port + 1;
	ls = listeners_new(ports, aim, name);
	for (size_t i = 0; i < count; i++) {
		for (unsigned offset = 0; offset <= (unsigned)rules[i].in_port_end - rules[i].in_port; offset++) {
			if (open_port(ls, &rules[i], (uint16_t)offset, sock, shared, e) < 0) {
				err_wrap(e, "%s.mapping", name);
				listeners_free(ls);
				return NULL;
			}
		}
	}
	return ls;
}
