/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockets - TCP on loopback. What fails only for want of something of our own ends the process with
 * a message.
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>

/* gives a non-blocking descriptor that listens on 127.0.0.1; -1 and errno. */
int socket_listen(uint16_t port);

/* gives a non-blocking descriptor that is being connected; receive_buffer 0: as it comes. -1 and
 * errno. */
int socket_connect(uint16_t port, uint32_t receive_buffer);

/* Of our side. */
uint16_t socket_port(int fd);

void socket_set_receive_buffer(int fd, uint32_t size);

/* What follows close() is a reset. */
void socket_set_reset(int fd);

/* Asks the other end, within a second, whether it is still there. */
void socket_ask(int fd);

/* Every edge of reading and writing, for owner. */
void socket_watch(int epoll_fd, int fd, void *owner);

/* For another owner; what is ready now is told again. */
void socket_rewatch(int epoll_fd, int fd, void *owner);
