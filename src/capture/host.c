/* SPDX-License-Identifier: Apache-2.0 */
/* host - addresses and mounts. */
#include "capture/host.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define MOUNTINFO_MAX (4u << 20)

static bool is_global(const struct sockaddr *address)
{
	const struct sockaddr_in6 *a = (const void *)address;

	return address != NULL && address->sa_family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&a->sin6_addr) &&
	       !IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr) && !IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
}

bool host_has_ipv6(void)
{
	struct ifaddrs *all;
	bool found = false;

	if (getifaddrs(&all) != 0)
		return true; /* rather refuse than let through */
	for (const struct ifaddrs *a = all; a != NULL && !found; a = a->ifa_next)
		found = is_global(a->ifa_addr);
	freeifaddrs(all);
	return found;
}

/* proc(5): "36 35 98:0 /root /mount/point options [optional]... - type source options". gives the mount point or NULL.
 */
static char *cgroup2_of_line(char *line)
{
	char *type = strstr(line, " - ");
	char *rest = line;
	char *point = NULL;

	if (type == NULL || strncmp(type + 3, "cgroup2 ", 8) != 0)
		return NULL;
	*type = '\0';
	for (int i = 0; i < 5; i++)
		point = strsep(&rest, " ");
	return point == NULL ? NULL : mem_strdup(point);
}

static char *below_root(const char *point)
{
	size_t len = strlen(CGROUP_ROOT);

	if (strcmp(point, CGROUP_ROOT) == 0)
		return mem_strdup("");
	if (strncmp(point, CGROUP_ROOT "/", len + 1) == 0)
		return mem_format("%s/", point + len + 1);
	return NULL;
}

char *cgroup_mount_of(const char *mountinfo, struct err *e)
{
	char *text = mem_strdup(mountinfo);
	char *rest = text;
	char *below = NULL;
	char *point = NULL;

	for (char *line = strsep(&rest, "\n"); line != NULL && below == NULL; line = strsep(&rest, "\n")) {
		char *found = cgroup2_of_line(line);

		if (found == NULL)
			continue;
		free(point);
		point = found;
		below = below_root(point);
	}
	if (below == NULL && point != NULL)
		err_set(e, ERR_CONFIG, "cgroup2 is mounted at %s, but nftables looks for it below " CGROUP_ROOT, point);
	else if (below == NULL)
		err_set(e, ERR_CONFIG, "cgroup2 is not mounted: capture_cgroup and nocapture_cgroup need it");
	free(point);
	free(text);
	return below;
}

char *host_cgroup_mount(struct err *e)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	struct buf text = { 0 };
	char *below = NULL;
	size_t n;

	if (file == NULL) {
		err_errno(e, ERR_SYSTEM, "open /proc/self/mountinfo");
		return NULL;
	}
	do {
		n = fread(buf_reserve(&text, 65536), 1, 65536, file);
		text.len += n;
	} while (n > 0 && text.len < MOUNTINFO_MAX);
	fclose(file);
	below = cgroup_mount_of(buf_str(&text), e);
	buf_release(&text);
	return below;
}
