/* Digits in a terminal, drawn by a generator of minigan: `make`, then `./digits 2026`, or `./digits 2026 7` for those of
   another seed. The header comes from `minigan export pretrained:digits --to c --weights int8 --out digits.h`. */
#define DIGITS_IMPLEMENTATION
#include "digits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 8 /* digits side by side */

static const char shades[] = " .:-=+*#%@";
static char screen[DIGITS_HEIGHT / 2][MOST * DIGITS_WIDTH + 1];

/* Draws one row of a picture; two rows share a line, as characters are about twice as high as wide. */
static void draw_row(int y, const unsigned char *bytes, void *column)
{
    char *line = screen[y / 2] + *(const int *)column * DIGITS_WIDTH;
    for (int x = 0; x < DIGITS_WIDTH; x++) {
        const char shade = shades[bytes[x] * 9 / 255];
        if (y % 2 == 0 || strchr(shades, shade) > strchr(shades, line[x]))
            line[x] = shade;
    }
}

int main(int count, char **words)
{
    static float scratch[DIGITS_SCRATCH]; /* all the memory that it takes */
    const char *number = count > 1 ? words[1] : "0123";
    const unsigned long seed = count > 2 ? strtoul(words[2], 0, 10) : 0;

    for (int column = 0; column < MOST && number[column] >= '0' && number[column] <= '9'; column++)
        digits_rows(digits_sample(seed, (uint32_t)column, number[column] - '0', scratch), draw_row, &column);
    for (int line = 0; line < DIGITS_HEIGHT / 2; line++)
        puts(screen[line]);
    return 0;
}
