# SPDX-License-Identifier: MIT
# Draws headline.svg: gnuplot headline.gp in this folder. The numbers are those of docs/results.md.
set terminal svg size 860,540 font "sans,14" background "#ffffff"
set output "headline.svg"
set logscale xy 2
set xrange [230:4600]
set yrange [4:200]
set xtics (256, 512, "1,024" 1024, "2,048" 2048, "4,096" 4096)
set ytics (5, 10, 20, 50, 100, 200)
set xlabel "tokens in the cache"
set ylabel "milliseconds a token"
set grid lc "#dddddd"
set key top left
set title "Llama-2-7B's shape, float16: streaming and recompute"
$rill << EOD
256 4.75 10.30
512 4.78 15.72
1024 4.84 31.61
2048 5.09 59.79
4096 5.46 127.22
EOD
$torch << EOD
256 21.2
512 22.0
1024 31.0
2048 60.3
4096 123.1
EOD
set label "23.3 times" at 4096,20 right offset -1,0 tc "#1b5e20"
set arrow from 4096,5.9 to 4096,115 heads size screen 0.01,25 lc "#1b5e20"
plot $rill using 1:2 with linespoints lw 2 pt 7 lc "#1b5e20" title "rill, streaming (H100)", \
     $rill using 1:3 with linespoints lw 2 pt 5 lc "#c62828" title "rill, recompute (H100)", \
     $torch using 1:2 with linespoints lw 2 pt 9 dt 2 lc "#757575" title "PyTorch, recompute (H200)"
