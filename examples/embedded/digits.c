/* Digits in a terminal, drawn by an exported generator:

     minigan export runs/dcgan-digits-1 --to c --weights int8 --out digits.h
     cc -O2 -I. examples/embedded/digits.c -lm -o digits && ./digits 7

   Any generator of grey images will do, if its header is called digits.h and it has no classes. */
#define DIGITS_IMPLEMENTATION
#include "digits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 4 /* pictures side by side */

static const char shades[] = " .:-=+*#%@";
static char screen[DIGITS_HEIGHT / 2][COLUMNS * DIGITS_WIDTH + 1];

/* Draws one row of a picture; two rows share a line, as characters are about twice as high as wide. */
static void draw_row(int y, const unsigned char *bytes, void *column)
{
    char *line = screen[y / 2] + *(const int *)column * DIGITS_WIDTH;
    for (int x = 0; x < DIGITS_WIDTH && y / 2 < DIGITS_HEIGHT / 2; x++) {
        const char shade = shades[bytes[x * DIGITS_CHANNELS] * 9 / 255];
        if (strchr(shades, shade) > strchr(shades, line[x]) || y % 2 == 0)
            line[x] = shade;
    }
}

int main(int count, char **words)
{
    static float scratch[DIGITS_SCRATCH]; /* all the memory that it takes */
    const unsigned long seed = count > 1 ? strtoul(words[1], 0, 10) : 0;

    for (int column = 0; column < COLUMNS; column++)
        digits_rows(digits_sample(seed, (uint32_t)column, scratch), draw_row, &column);
    for (int line = 0; line < DIGITS_HEIGHT / 2; line++)
        puts(screen[line]);
    return 0;
}
