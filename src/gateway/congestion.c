/* SPDX-License-Identifier: Apache-2.0 */
/*
 * congestion - what "auto" and "host" mean, and what may not be had.
 *
 * Pacing, as of BBR, only costs on loopback. Reno stands in for it because each kernel has it, and allows it to each
 * process unless the host has taken it away: others, Cubic as well, are refused to who has no CAP_NET_ADMIN unless the
 * host allows them. Where nothing is lost they are equal.
 */
#include "gateway/congestion.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

static bool may_pace(const char *name)
{
	return strcmp(name, "cubic") != 0 && strcmp(name, "reno") != 0;
}

/* Once connections to others have a name, those of loopback need one, too: sockets are accepted with their listener's.
 */
void congestion_choose(const struct config *c, char host[SOCK_CONGESTION_TEXT], struct sock_options *o)
{
	bool is_auto = strcmp(c->congestion_loopback, "auto") == 0;

	sock_host_congestion(host);
	o->congestion_remote = strcmp(c->congestion_remote, "host") == 0 ? NULL : c->congestion_remote;
	if (!is_auto && strcmp(c->congestion_loopback, "host") != 0)
		o->congestion_loopback = c->congestion_loopback;
	else if (is_auto && may_pace(host))
		o->congestion_loopback = "reno";
	else if (o->congestion_remote != NULL && host[0] != '\0')
		o->congestion_loopback = host;
}

static int check(const char *key, const char *name, struct err *e)
{
	struct err why;

	if (strcmp(name, "auto") == 0 || strcmp(name, "host") == 0 || sock_try_congestion(name, &why) == 0)
		return 0;
	if (why.sys == EPERM)
		return err_set(
			e, ERR_CONFIG,
			"tcp_congestion.%s: the host does not let this process choose \"%s\": add it to the sysctl "
			"net.ipv4.tcp_allowed_congestion_control",
			key, name);
	if (why.sys == ENOENT)
		return err_set(e, ERR_CONFIG,
			       "tcp_congestion.%s: the kernel has no \"%s\" (modprobe tcp_%s; sysctl "
			       "net.ipv4.tcp_available_congestion_control lists what there is)",
			       key, name, name);
	return err_set(e, ERR_SYSTEM, "tcp_congestion.%s: %s", key, why.text);
}

int congestion_check(const struct config *c, struct err *e)
{
	struct err loopback;
	bool both;

	if (check("loopback", c->congestion_loopback, &loopback) == 0)
		return check("remote", c->congestion_remote, e);
	both = check("remote", c->congestion_remote, e) != 0;
	if (both)
		log_error("%s", e->text);
	*e = loopback;
	return -1;
}
