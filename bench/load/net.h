/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net - sockets on loopback, and the time. What cannot fail but for want of something of our own
 * ends the process with a message.
 *
 * Threads: one.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

uint64_t net_now_ns(void);

/* gives a descriptor that listens on 127.0.0.1; -1 and errno. */
int net_listen(uint16_t port);

/* gives a descriptor that is being connected to the address (0: 127.0.0.1); -1 and errno. */
int net_connect(struct in_addr address, uint16_t port);

/* 0 when the connection stands, else the errno of its failure. */
int net_error(int fd);

void net_watch(int epoll_fd, int fd, uint32_t events, void *owner);

/* Asks for the same events anew: an edge that was left half used comes again. */
void net_watch_again(int epoll_fd, int fd, uint32_t events, void *owner);
