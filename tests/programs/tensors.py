"""What a tensor is: lists, storages, strides, views, dtypes, NumPy, files."""

import os
import tempfile

import numpy as np
import torch

a = [1.0, 2.0, 1.0]
a[2] = 3.0
t = torch.ones(3)
print(t, t[1], float(t[1]))
t[2] = 2.0
print(a, t)

points = torch.zeros(6)
points[0], points[1], points[2] = 4.0, 1.0, 5.0
points[3], points[4], points[5] = 3.0, 2.0, 1.0
print(points, float(points[0]))
points = torch.tensor([[4.0, 1.0], [5.0, 3.0], [2.0, 1.0]])
print(points, points.shape, torch.zeros(3, 2))
print(points[0, 1], points[0])

some_list = list(range(6))
print(some_list[1:4:2], some_list[:-1])
print(points[1:], points[1:, :], points[1:, 0], points[None], points[None].shape)
print(points[..., 0], points[-1, -1], points[[0, 2]], points[[2, 0], [0, 1]])

img_t = torch.arange(3 * 2 * 2, dtype=torch.float32).view(3, 2, 2)
weights = torch.tensor([0.2126, 0.7152, 0.0722])
batch_t = torch.stack([img_t, img_t * 2])
print(img_t.mean(-3), batch_t.mean(-3).shape)
unsqueezed = weights.unsqueeze(-1).unsqueeze_(-1)
print((img_t * unsqueezed).sum(-3), (batch_t * unsqueezed).sum(-3))
print(torch.einsum("...chw,c->...hw", img_t, weights))

double_points = torch.ones(10, 2, dtype=torch.double)
short_points = torch.tensor([[1, 2], [3, 4]], dtype=torch.short)
print(short_points.dtype, double_points.dtype, short_points)
print(torch.zeros(2, 2).double().dtype, torch.ones(2, 2).to(torch.short).dtype)
points_64 = torch.full((5,), 0.25, dtype=torch.double)
print(points_64 * points_64.to(torch.short), points_64.to(dtype=torch.short).dtype)

a = torch.ones(3, 2)
a_t = torch.transpose(a, 0, 1)
print(a.shape, a_t.shape, a.transpose(0, 1).shape)

points = torch.tensor([[4.0, 1.0], [5.0, 3.0], [2.0, 1.0]])
print(points.storage())
points_storage = points.storage()
print(points_storage[0], points.storage()[1])
points_storage[0] = 2.0
print(points)
a = torch.ones(3, 2)
a.zero_()
print(a)

second_point = points[1]
print(second_point.storage_offset(), second_point.size(), points.stride())
second_point[0] = 10.0
print(points)
second_point = points[1].clone()
second_point[0] = 5.0
print(points)
points_t = points.t()
print(points_t, id(points.storage()) == id(points_t), points_t.stride())
some_t = torch.ones(3, 4, 5)
transpose_t = some_t.transpose(0, 2)
print(transpose_t.shape, some_t.stride(), transpose_t.stride())
print(points.is_contiguous(), points_t.is_contiguous())
points_t_cont = points_t.contiguous()
print(points_t_cont, points_t_cont.stride(), points_t_cont.storage())

points_gpu = points.to(device="cpu")
print((points_gpu + 4).device, points.is_cuda)
points = torch.ones(3, 4)
points_np = points.numpy()
points_np[0, 0] = 7
print(points_np.dtype, points[0], torch.from_numpy(points_np).dtype)

folder = tempfile.mkdtemp()
path = os.path.join(folder, "ourpoints.t")
torch.save(points, path)
print(torch.load(path))
with open(path, "wb") as f:
    torch.save({"points": points, "names": ["x", "y"]}, f)
with open(path, "rb") as f:
    loaded = torch.load(f)
print(loaded["points"], loaded["names"])

a = torch.tensor(list(range(9)))
print(a.size(), a.storage_offset(), a.stride())
b = a.view(3, 3)
c = b[1:, 1:]
print(b, c, c.size(), c.storage_offset(), c.stride())
print(torch.cos(a.float()), torch.sqrt(a.float()), a.sum(), a.float().mean())
print(np.asarray(b).sum())
