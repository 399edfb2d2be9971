/* SPDX-License-Identifier: Apache-2.0 */
/* main - argv to command. */
int main(void)
{
	return 2;
}
