/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl - `tng lab ctl`: one command to the control socket of a lab that runs.
 *
 * Threads: the only one of its process.
 */
#pragma once

/* argv[0] is "ctl". The exit code: 0 the lab said ok, 1 it did not, 2 wrong command line. */
int cmd_lab_ctl(int argc, char **argv);
