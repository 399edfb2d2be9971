/* SPDX-License-Identifier: Apache-2.0 */
/* local_ports - two settings of the kernel, read anew each time: the administrator may have changed them. */
#include "io/local_ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS "/proc/sys/net/ipv4/"
#define SETTING_MAX 65536 /* the kernel takes lists that are longer, of which the end is not read */

/* An empty text where there is none. */
static char *read_setting(const char *path)
{
	char *text = mem_new_array(SETTING_MAX, 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return text;
	while ((n = read(fd, text + len, SETTING_MAX - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	return text;
}

static bool list_has(const char *list, uint16_t port)
{
	const char *at = list;

	while (*at != '\0') {
		char *end;
		unsigned long first = strtoul(at, &end, 10);
		unsigned long last = first;

		if (end == at)
			return false;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (port >= first && port <= last)
			return true;
		at = end + strspn(end, ", \t\n");
	}
	return false;
}

bool local_ports_match(const char *range, const char *reserved, uint16_t port)
{
	unsigned first;
	unsigned last;

	return sscanf(range, "%u %u", &first, &last) == 2 && port >= first && port <= last && !list_has(reserved, port);
}

bool local_ports_include(uint16_t port)
{
	char *range = read_setting(SETTINGS "ip_local_port_range");
	char *reserved = read_setting(SETTINGS "ip_local_reserved_ports");
	bool included = local_ports_match(range, reserved, port);

	free(range);
	free(reserved);
	return included;
}

void local_ports_explain(uint16_t port, struct err *e)
{
	struct err was = *e;

	if (e->sys != EADDRINUSE || !local_ports_include(port))
		return;
	err_set(e, was.kind,
		"%s: it is in ip_local_port_range, so a connection of this host may have it (also in TIME_WAIT): "
		"choose another, or put it into net.ipv4.ip_local_reserved_ports",
		was.text);
	e->sys = was.sys;
}
