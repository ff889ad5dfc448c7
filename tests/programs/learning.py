"""The mechanics of learning: a thermometer of unknown units."""

import torch
import torch.optim as optim

torch.set_printoptions(edgeitems=2, linewidth=75)
t_c = [0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0]
t_u = [35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4]
t_c = torch.tensor(t_c)
t_u = torch.tensor(t_u)


def model(t_u, w, b):
    return w * t_u + b


def loss_fn(t_p, t_c):
    squared_diffs = (t_p - t_c) ** 2
    return squared_diffs.mean()


w = torch.ones(())
b = torch.zeros(())
t_p = model(t_u, w, b)
print(t_p, loss_fn(t_p, t_c))

x = torch.ones(())
y = torch.ones(3, 1)
z = torch.ones(1, 3)
a = torch.ones(2, 1, 1)
print(f"shapes: x: {x.shape}, y: {y.shape}\n        z: {z.shape}, a: {a.shape}")
print("x * y:", (x * y).shape, "y * z:", (y * z).shape, (y * z * a).shape)

delta = 0.1
rate = (
    loss_fn(model(t_u, w + delta, b), t_c) - loss_fn(model(t_u, w - delta, b), t_c)
) / (2.0 * delta)
print(rate)


def dloss_fn(t_p, t_c):
    return 2 * (t_p - t_c) / t_p.size(0)


def grad_fn(t_u, t_c, t_p, w, b):
    dloss_dtp = dloss_fn(t_p, t_c)
    return torch.stack([(dloss_dtp * t_u).sum(), (dloss_dtp * 1.0).sum()])


def training_loop(n_epochs, learning_rate, params, t_u, t_c):
    for epoch in range(1, n_epochs + 1):
        w, b = params
        t_p = model(t_u, w, b)
        loss = loss_fn(t_p, t_c)
        grad = grad_fn(t_u, t_c, t_p, w, b)
        params = params - learning_rate * grad
        if epoch in {1, 2, 3, 10, 99, 100}:
            print("Epoch %d, Loss %f" % (epoch, float(loss)))
            print("    Params:", params)
            print("    Grad:  ", grad)
        if not torch.isfinite(loss).all():
            break
    return params


training_loop(10, 1e-2, torch.tensor([1.0, 0.0]), t_u, t_c)
t_un = 0.1 * t_u
training_loop(100, 1e-2, torch.tensor([1.0, 0.0]), t_un, t_c)

params = torch.tensor([1.0, 0.0], requires_grad=True)
print(params.grad is None)
loss = loss_fn(model(t_u, *params), t_c)
loss.backward()
print(params.grad)
if params.grad is not None:
    params.grad.zero_()


def autograd_loop(n_epochs, learning_rate, params, t_u, t_c):
    for epoch in range(1, n_epochs + 1):
        if params.grad is not None:
            params.grad.zero_()
        t_p = model(t_u, *params)
        loss = loss_fn(t_p, t_c)
        loss.backward()
        with torch.no_grad():
            params -= learning_rate * params.grad
        if epoch % 500 == 0:
            print("Epoch %d, Loss %.4f" % (epoch, float(loss)))
    return params


print(
    autograd_loop(1000, 1e-2, torch.tensor([1.0, 0.0], requires_grad=True), t_un, t_c)
)

params = torch.tensor([1.0, 0.0], requires_grad=True)
optimizer = optim.SGD([params], lr=1e-5)
t_p = model(t_u, *params)
loss = loss_fn(t_p, t_c)
loss.backward()
optimizer.step()
print(params, optimizer)


def optimizer_loop(n_epochs, optimizer, params, train_u, val_u, train_c, val_c):
    for epoch in range(1, n_epochs + 1):
        train_loss = loss_fn(model(train_u, *params), train_c)
        with torch.no_grad():
            val_loss = loss_fn(model(val_u, *params), val_c)
            assert val_loss.requires_grad is False
        optimizer.zero_grad()
        train_loss.backward()
        optimizer.step()
        if epoch <= 3 or epoch % 500 == 0:
            print(
                f"Epoch {epoch}, Training loss {train_loss.item():.4f},"
                f" Validation loss {val_loss.item():.4f}"
            )
    return params


n_samples = t_u.shape[0]
n_val = int(0.2 * n_samples)
shuffled_indices = torch.tensor([3, 7, 0, 9, 5, 1, 8, 2, 10, 4, 6])
assert sorted(torch.randperm(n_samples).tolist()) == list(range(n_samples))
train_indices = shuffled_indices[:-n_val]
val_indices = shuffled_indices[-n_val:]
print(train_indices, val_indices)
train_t_u, val_t_u = t_u[train_indices], t_u[val_indices]
train_t_c, val_t_c = t_c[train_indices], t_c[val_indices]
params = torch.tensor([1.0, 0.0], requires_grad=True)
optimizer = optim.SGD([params], lr=1e-2)
print(
    optimizer_loop(
        1000, optimizer, params, 0.1 * train_t_u, 0.1 * val_t_u, train_t_c, val_t_c
    )
)
params = torch.tensor([1.0, 0.0], requires_grad=True)
optimizer = optim.Adam([params], lr=1e-1)
print(optimizer_loop(1000, optimizer, params, train_t_u, val_t_u, train_t_c, val_t_c))


def calc_forward(t_u, t_c, is_train):
    with torch.set_grad_enabled(is_train):
        return loss_fn(model(t_u, *params), t_c)


print(calc_forward(t_u, t_c, True).requires_grad)
print(calc_forward(t_u, t_c, False).requires_grad)
