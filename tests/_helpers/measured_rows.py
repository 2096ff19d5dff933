"""Rows of a table of measured speeds, and the score of one."""

from roofline.measured.validate import validate

HEAD = (
    "device,model,params,weight_format,act_format,batch,prompt_len,gen_len,phase,tokens_per_s,"
    "source\n"
)
#: Measurements that the efficiency factors were fitted to, so that predictions must be near.
ROWS = (
    HEAD
    + """\
"Ryzen 7950X, 4 threads",Llama-3.1-8B,8.03e9,gguf-Q4_0,,1,,128,decode,13.88,s
"Ryzen 7950X, 4 threads",Llama-3.1-8B,8.03B,gguf-Q8_0,,1,,128,decode,7.79,s
"Ryzen 7950X, 16 threads",Llama-3.1-8B,8.03e9,gguf-Q4_0,,1,512,,prefill,165.26,s
"TR 5975WX, 32 threads",Llama-3.1-8B,8.03e9,gguf-BF16,,1,512,,prefill,152.8,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s
TR Pro 7995WX,TinyLlama-1.1B,1.1e9,f16,,1,,128,decode,52,s
Abacus,Llama-3.1-8B,8e9,f16,,1,,128,decode,52,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,sleep,3.94,s
i5-6500,Mystery,,q4_0,,1,,128,decode,3.94,s
i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,fast,s
i5-6500,LLaMA-7B,6.7e9,w4b4,,1,,128,decode,3,s
A100 80GB,Llama-2-70B,69e9,f16,,,512,128,e2e_max,100,s
A100 80GB,Llama-2-7B,6.7e9,f16,,,512,128,e2e_max,100,s
A100 80GB,Llama-2-7B,6.7e9,f16,,1,512,128,decode,1000,s
"""
)


def scored(tmp_path, text):
    """Return what a row without its source scores."""
    path = tmp_path / "row.csv"
    path.write_text(f"{HEAD}{text},s\n")
    (row,) = validate(path).scored
    return row
