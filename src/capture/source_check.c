/* SPDX-License-Identifier: Apache-2.0 */
/* source_check - net.ipv4.conf.all.src_valid_mark. */
#include "capture/source_check.h"

#include <fcntl.h>
#include <unistd.h>

#define NAME "net.ipv4.conf.all.src_valid_mark"
#define PATH "/proc/sys/net/ipv4/conf/all/src_valid_mark"

bool source_check_uses_marks(void)
{
	int fd = open(PATH, O_RDONLY | O_CLOEXEC);
	char value = '0';

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = '0';
	close(fd);
	return value != '0';
}

int source_check_set(bool uses_marks, struct err *e)
{
	const char *text = uses_marks ? "1\n" : "0\n";
	int fd = open(PATH, O_WRONLY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return err_errno(e, ERR_SYSTEM, "set " NAME " to %c (where /proc/sys is read-only, set it outside)",
				 text[0]);
	if (write(fd, text, 2) != 2)
		rc = err_errno(e, ERR_SYSTEM, "set " NAME " to %c", text[0]);
	close(fd);
	return rc;
}
