/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses: a list of ports, /proc/self/mountinfo, or a configuration that becomes rules. */
#include <netinet/in.h>
#include <stdlib.h>

#include "capture/host.h"
#include "capture/rules.h"
#include "capture/sidecar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_ports(const char *text)
{
	struct port_list list = { 0 };
	struct err e;

	if (port_list_parse(text, "--ports", true, &list, &e) == 0 && list.count > PORT_LIST_MAX)
		abort();
	port_list_release(&list);
}

static void print_all(const struct ruleset *r)
{
	struct buf out = { 0 };

	rules_print_nft(r, true, &out);
	rules_print_nft_block(r, false, &out);
	rules_print_iptables(r, AF_INET, &out);
	rules_print_iptables(r, AF_INET6, &out);
	rules_print_iptables_block(r, AF_INET6, &out);
	rules_print_removal_commands(r, BACKEND_IPTABLES, &out);
	buf_release(&out);
}

static void fuzz_rules(struct bytes text)
{
	struct config_report report;
	struct config *c = config_load(text, "fuzz", &report);
	struct captured_entry *entries = mem_new_array(c == NULL ? 0 : c->entry_count, sizeof(*entries));
	struct ruleset *r = NULL;
	struct err e;

	for (size_t i = 0; c != NULL && i < c->entry_count; i++)
		entries[i] = (struct captured_entry){ &c->entries[i], 40000 };
	if (c != NULL)
		r = rules_build(&c->interception, entries, c->entry_count, true, &e);
	if (r != NULL)
		print_all(r);
	rules_free(r);
	free(entries);
	config_free(c);
	config_report_release(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;
	struct err e;

	if (size == 0)
		return 0;
	text = mem_strndup((const char *)data + 1, size - 1);
	if (data[0] == 'p')
		fuzz_ports(text);
	else if (data[0] == 'm')
		free(cgroup_mount_of(text, &e));
	else
		fuzz_rules(bytes_of(data, size));
	free(text);
	return 0;
}
