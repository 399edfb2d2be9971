/* SPDX-License-Identifier: Apache-2.0 */
/* text_forms - addresses, URLs and names. */
#include "config/text_forms.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define HOST_MAX 253
#define LABEL_MAX 63

#define NO_HOST "expected a host name or an IP address"
#define NO_URL "expected a URL such as http://127.0.0.1:8080"
#define NO_UNIX "expected an absolute path behind unix://, such as unix:///run/aa.sock"
#define NO_CIDR "expected an IP address, or a network such as 10.0.0.0/8"

/* "fe80::1%eth0" with its scope. */
static bool is_ipv6(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ignored;
	size_t len = strcspn(text, "%");

	if (len >= sizeof(address) ||
	    (text[len] == '%' && (text[len + 1] == '\0' || strlen(text + len + 1) >= IF_NAMESIZE)))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	return inet_pton(AF_INET6, address, &ignored) == 1;
}

static bool is_ipv4(const char *text)
{
	struct in_addr ignored;

	return inet_pton(AF_INET, text, &ignored) == 1;
}

static bool is_label(const char *text, size_t len)
{
	if (len == 0 || len > LABEL_MAX || text[0] == '-' || text[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
			return false;
	}
	return true;
}

/*
 * RFC 1123, with the underscores that container networks use. A name that ends in digits only would be an
 * address in a form that programs read differently ("127.1", "010.0.0.1"), so it is none.
 */
static bool is_host_name(const char *text)
{
	size_t len = strlen(text);
	size_t at = 0;
	bool digits_only = false;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len == 0 || len > HOST_MAX)
		return false;
	while (at < len) {
		size_t label = strcspn(text + at, ".");

		label = label > len - at ? len - at : label;
		if (!is_label(text + at, label))
			return false;
		digits_only = strspn(text + at, "0123456789") >= label;
		at += label + 1;
	}
	return at == len + 1 && !digits_only;
}

static bool is_host(const char *text)
{
	return is_ipv4(text) || is_ipv6(text) || is_host_name(text);
}

const char *check_host(char *text)
{
	size_t len = strlen(text);

	if (text[0] == '[' && text[len - 1] == ']') {
		memmove(text, text + 1, len - 2);
		text[len - 2] = '\0';
		return is_ipv6(text) ? NULL : NO_HOST;
	}
	return is_host(text) ? NULL : NO_HOST;
}

static bool is_port(const char *text)
{
	size_t len = strlen(text);
	long port = strtol(text, NULL, 10);

	return len > 0 && len <= 5 && strspn(text, "0123456789") == len && port > 0 && port <= UINT16_MAX;
}

/* "host", "host:port", "[v6]" or "[v6]:port"; cuts text apart. *port is NULL without one. */
static bool split_host_port(char *text, char **host, char **port)
{
	char *end;

	*port = NULL;
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		if (end[1] == ':')
			*port = end + 2;
		*end = '\0';
		*host = text + 1;
		return is_ipv6(*host);
	}
	*host = text;
	end = strchr(text, ':');
	if (end != NULL) {
		*end = '\0';
		*port = end + 1;
	}
	return is_ipv4(text) || is_host_name(text);
}

static const char *check_authority(const char *text, size_t len)
{
	char copy[HOST_MAX + 16];
	char *host;
	char *port;

	if (memchr(text, '@', len) != NULL)
		return "user and password do not belong into the URL";
	if (len >= sizeof(copy))
		return NO_URL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (!split_host_port(copy, &host, &port) || (port != NULL && !is_port(port)))
		return NO_URL;
	return NULL;
}

/* What may be a user and a password is not shown, wherever somebody wrote it. */
static const char *hide_user(char *text, const char *wrong)
{
	const char *at = strrchr(text, '@');
	const char *slashes = strstr(text, "//");
	char *from = text;

	if (at == NULL)
		return wrong;
	if (slashes != NULL && slashes < at)
		from += slashes - text + 2;
	while (from < at)
		*from++ = '*';
	return wrong;
}

const char *check_url(char *text)
{
	size_t scheme = strncasecmp(text, "http://", 7) == 0 ? 7 : strncasecmp(text, "https://", 8) == 0 ? 8 : 0;
	size_t len = strlen(text);
	const char *wrong;

	if (scheme == 0)
		return hide_user(text, NO_URL);
	wrong = check_authority(text + scheme, strcspn(text + scheme, "/?#"));
	if (wrong != NULL)
		return hide_user(text, wrong);
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= 0x20 || text[i] == 0x7f)
			return hide_user(text, NO_URL);
	}
	if (strpbrk(text, "?#") != NULL)
		return hide_user(text, "expected a URL without query and fragment");
	while (text[len - 1] == '/')
		text[--len] = '\0';
	return NULL;
}

const char *check_unix_address(char *text)
{
	static const char prefix[] = "unix:///";
	struct sockaddr_un address;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0 || strlen(text) == sizeof(prefix) - 1)
		return NO_UNIX;
	if (strlen(text + sizeof(prefix) - 2) >= sizeof(address.sun_path))
		return "the path is longer than the 107 bytes of a socket address";
	return NULL;
}

const char *check_ipv4(char *text)
{
	return is_ipv4(text) ? NULL : "expected an IPv4 address";
}

/* No bit behind the first prefix bits. */
static bool ends_at(const uint8_t *address, unsigned len, unsigned prefix)
{
	for (unsigned bit = prefix; bit < 8 * len; bit++) {
		if ((address[bit / 8] & (0x80 >> bit % 8)) != 0)
			return false;
	}
	return true;
}

const char *check_cidr(char *text)
{
	uint8_t address[16];
	char *slash = strchr(text, '/');
	unsigned len;
	unsigned long prefix;
	bool good;

	if (slash != NULL)
		*slash = '\0';
	good = host_address(text, address, &len);
	if (slash == NULL)
		return good ? NULL : NO_CIDR;
	*slash = '/';
	if (!good || slash[1] == '\0' || strlen(slash + 1) > 3 || strspn(slash + 1, "0123456789") != strlen(slash + 1))
		return NO_CIDR;
	prefix = strtoul(slash + 1, NULL, 10);
	if (prefix > 8 * len)
		return NO_CIDR;
	if (!ends_at(address, len, (unsigned)prefix))
		return "the address has bits behind the prefix";
	return NULL;
}

const char *check_domain_pattern(char *text)
{
	size_t len = strlen(text);
	const char *star = strchr(text, '*');

	if (len == 0)
		return "expected a domain, or a pattern such as *.example.com";
	if (star != NULL && star != text && star != text + len - 1)
		return "a * must stand at the beginning or at the end";
	if (star == text && strchr(text + 1, '*') != NULL)
		return "more than one *";
	return NULL;
}

const char *check_host_port(char *text)
{
	char copy[HOST_MAX + 16];
	char *host;
	char *port;

	if (strlen(text) >= sizeof(copy))
		return "expected HOST:PORT";
	strcpy(copy, text);
	if (!split_host_port(copy, &host, &port) || port == NULL || !is_port(port))
		return "expected HOST:PORT";
	return NULL;
}

const char *check_not_empty(char *text)
{
	return text[0] == '\0' ? "an empty string" : NULL;
}

bool host_address(const char *host, uint8_t address[16], unsigned *len)
{
	*len = 4;
	if (inet_pton(AF_INET, host, address) == 1)
		return true;
	*len = 16;
	return inet_pton(AF_INET6, host, address) == 1;
}
