/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_numbers - marks, routing tables, ports and queues of entries that capture.
 *
 * Instance "0" has the numbers of upstream. Any other has a range of its own, found from its name, so that gateways
 * on one host do not take each other's packets:
 *
 *   mark   566 + i          ingress i: its captured packets        table 239 + i
 *          1078 + i         egress i, where it uses TPROXY         table 751 + i
 *          1590 + i         ingress i: its service has accepted    (open_ports: connect_first)
 *          2102 + i         ingress i: its service has refused     table 1775 + i
 *   queue  2350 + i         ingress i: first packets               (open_ports: connect_first)
 *
 * An instance's marks and tables are higher by a multiple of 4096, its queues by one of 512. Tables 253 to 255 are the
 * kernel's own: what would meet them lies above all others.
 *
 * Threads: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

#define CAPTURE_MARK_FIRST 566	/* + place of the entry in add_ingress */
#define CAPTURE_TABLE_FIRST 239 /* routing table, likewise */
#define EGRESS_PORT_FIRST 40000 /* + place of the entry in add_egress */
#define CAPTURE_QUEUE_FIRST 2350
#define CAPTURE_ENTRIES_MAX 512 /* place of an entry that captures, in each list */

#define SO_MARK_DEFAULT 565
#define INSTANCE_DEFAULT "0"
#define MARK_MASK_DEFAULT 0x00ffffff
#define PROTOCOL_DEFAULT 235

#define INSTANCE_LEN_MAX 12

bool is_instance_name(const char *text);

uint32_t capture_mark(const struct interception_conf *conf, enum entry_kind kind, unsigned index);
uint32_t capture_table(const struct interception_conf *conf, enum entry_kind kind, unsigned index);

/* What the first packet of a connection is marked with when it comes back from the queue. */
uint32_t capture_mark_accepted(const struct interception_conf *conf, unsigned index);
uint32_t capture_mark_refused(const struct interception_conf *conf, unsigned index);
uint32_t capture_table_refused(const struct interception_conf *conf, unsigned index);
uint16_t capture_queue(const struct interception_conf *conf, unsigned index);
